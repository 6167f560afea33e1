//! The cluster itself.

use kafka_protocol::messages::DescribeClusterRequest;

use super::Admin;
use crate::client::messages::check_said;
use crate::client::{Node, NodeTarget};
use crate::{ErrorKind, Result};

/// Version 1 may ask for controllers, which is not done; 2 tells fenced brokers.
const DESCRIBE_CLUSTER: std::ops::RangeInclusive<i16> = 0..=1;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// Node id of the controller, or of a broker that stands in for it; -1 if there is none now.
    pub controller: i32,
    /// The brokers, by node id.
    pub nodes: Vec<Node>,
}

impl Admin {
    /// The cluster's id.
    ///
    /// # Errors
    /// If no broker could be asked.
    pub async fn cluster_id(&self) -> Result<Option<String>> {
        // metadata of no topic has it; brokers before DescribeCluster have it too
        Ok(self.client.topics_now(&[]).await?.cluster_id)
    }

    /// The cluster's id, controller and brokers, from `DescribeCluster`.
    ///
    /// # Errors
    /// If no broker could be asked, or it refuses.
    pub async fn describe_cluster(&self) -> Result<Cluster> {
        let request = DescribeClusterRequest::default();
        let answer = self.ask_any(request, DESCRIBE_CLUSTER).await?;
        check_said(answer.error_code, answer.error_message.as_deref(), || {
            "describing the cluster".to_owned()
        })?;
        let mut nodes = Vec::with_capacity(answer.brokers.len());
        for broker in &answer.brokers {
            let port = u16::try_from(broker.port).map_err(|_| {
                let what = format!("broker {} has port {}", broker.broker_id.0, broker.port);
                crate::Error::new(ErrorKind::Protocol, what)
            })?;
            let rack = broker.rack.as_ref().map(ToString::to_string);
            nodes.push(Node { id: broker.broker_id.0, host: broker.host.to_string(), port, rack });
        }
        nodes.sort_by_key(|node| node.id);
        Ok(Cluster { id: answer.cluster_id.to_string(), controller: answer.controller_id.0, nodes })
    }

    /// Any broker will do; another one is asked where that helps, within `default.api.timeout.ms`.
    pub(super) async fn ask_any<R>(
        &self,
        request: R,
        versions: std::ops::RangeInclusive<i16>,
    ) -> Result<R::Response>
    where
        R: kafka_protocol::protocol::Request + Clone,
    {
        let mut retries = super::Retries::new(&self.client);
        loop {
            let (request, versions) = (request.clone(), versions.clone());
            match self.client.send_versioned(NodeTarget::Any, request, versions, None).await {
                Err(error) if error.is_retriable() => retries.after(error).await?,
                answer => return answer,
            }
        }
    }
}
