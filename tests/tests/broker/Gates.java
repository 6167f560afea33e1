import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** Apache Kafka's own clients against the embedded broker: bootstrap server, expected transaction.version,
 *  then the gates to try (default: all). */
public class Gates {
    static String bootstrap;
    static int transactionVersion;
    static Admin admin;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        transactionVersion = Integer.parseInt(args[1]);
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "request.timeout.ms", 15000, "default.api.timeout.ms", 20000));
        Set<String> only = new HashSet<>(Arrays.asList(args).subList(2, args.length));
        try (Admin a = admin) {
            if (wanted(only, "administration")) administration();
            if (wanted(only, "idempotent")) idempotent();
            if (wanted(only, "transactions")) transactions();
            if (wanted(only, "fencing")) fencing();
            if (wanted(only, "offsetsInTransactions")) offsetsInTransactions();
            if (wanted(only, "timeout")) timeout();
            if (wanted(only, "cleaning")) cleaning();
            if (wanted(only, "groups")) {
                groups("classic");
                groups("consumer");
                pattern();
                groupAdministration();
            }
        }
        System.out.println("ALL GATES PASSED");
    }

    static boolean wanted(Set<String> only, String gate) {
        return only.isEmpty() || only.contains(gate);
    }

    static void check(boolean ok, String what) {
        if (!ok) throw new AssertionError(what);
    }

    static <T> T equal(T expected, T found, String what) {
        if (!Objects.equals(expected, found)) throw new AssertionError(what + ": expected " + expected + ", found " + found);
        return found;
    }

    static void passed(String what) {
        System.out.println("passed: " + what);
    }

    static void topic(String name, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, Optional.of(partitions), Optional.empty()))).all().get();
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 20000,
            "request.timeout.ms", 10000, "max.block.ms", 20000));
        config.putAll(more);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest",
            "enable.auto.commit", false));
        config.putAll(more);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    /** Values of a whole topic as a consumer without group sees them now. */
    static List<String> read(String topic, String isolation) {
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("isolation.level", isolation))) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            List<String> values = new ArrayList<>();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(15);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                check(System.nanoTime() < deadline, "end of " + topic + " not reached: " + values.size() + " records");
                consumer.poll(Duration.ofMillis(100)).forEach(r -> values.add(r.value()));
            }
            return values;
        }
    }

    static <T extends Throwable> void fails(Class<T> with, org.apache.kafka.common.KafkaFuture<?> future) throws Exception {
        try {
            future.get();
        } catch (ExecutionException e) {
            check(with.isInstance(e.getCause()), "expected " + with.getSimpleName() + ", got " + e.getCause());
            return;
        }
        throw new AssertionError("expected " + with.getSimpleName());
    }

    static void administration() throws Exception {
        equal(1, admin.describeCluster().nodes().get().size(), "nodes");
        NewTopic compacted = new NewTopic("admin", 2, (short) 1).configs(Map.of("cleanup.policy", "compact"));
        CreateTopicsResult created = admin.createTopics(List.of(compacted));
        equal(2, created.numPartitions("admin").get(), "partitions");
        fails(TopicExistsException.class, admin.createTopics(List.of(compacted)).all());
        fails(InvalidReplicationFactorException.class, admin.createTopics(List.of(new NewTopic("r3", 1, (short) 3))).all());
        fails(InvalidConfigurationException.class, admin.createTopics(List.of(
            new NewTopic("bad", 1, (short) 1).configs(Map.of("retention.ms", "soon")))).all());
        fails(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of("nothing")).allTopicNames());
        admin.createPartitions(Map.of("admin", NewPartitions.increaseTo(4))).all().get();
        equal(4, admin.describeTopics(List.of("admin")).allTopicNames().get().get("admin").partitions().size(), "partitions");
        fails(InvalidPartitionsException.class, admin.createPartitions(Map.of("admin", NewPartitions.increaseTo(2))).all());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, "admin");
        equal("compact", admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value(), "policy");
        admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "delete"), AlterConfigOp.OpType.APPEND),
            new AlterConfigOp(new ConfigEntry("retention.ms", "1234"), AlterConfigOp.OpType.SET)))).all().get();
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        equal("compact,delete", config.get("cleanup.policy").value(), "policy");
        equal("1234", config.get("retention.ms").value(), "retention");
        equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config.get("segment.bytes").source(), "source");
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        check(admin.describeConfigs(List.of(broker)).all().get().get(broker).get("num.partitions") != null, "broker config");
        fails(SecurityDisabledException.class, admin.describeAcls(org.apache.kafka.common.acl.AclBindingFilter.ANY).values());
        long time = System.currentTimeMillis() - 20000;
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int i = 0; i < 10; i++) producer.send(new ProducerRecord<>("cut", 0, time + i * 1000, "k", "v" + i));
        }
        TopicPartition cut = new TopicPartition("cut", 0);
        equal(6L, admin.deleteRecords(Map.of(cut, RecordsToDelete.beforeOffset(6))).lowWatermarks().get(cut).get().lowWatermark(), "low watermark");
        equal(List.of("v6", "v7", "v8", "v9"), read("cut", "read_uncommitted"), "after deletion");
        fails(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, admin.deleteRecords(Map.of(cut, RecordsToDelete.beforeOffset(60))).all());
        equal(8L, admin.listOffsets(Map.of(cut, OffsetSpec.forTimestamp(time + 7500))).partitionResult(cut).get().offset(), "by time");
        equal(9L, admin.listOffsets(Map.of(cut, OffsetSpec.maxTimestamp())).partitionResult(cut).get().offset(), "newest");
        equal(6L, admin.listOffsets(Map.of(cut, OffsetSpec.earliest())).partitionResult(cut).get().offset(), "earliest");
        check(admin.describeLogDirs(List.of(1)).allDescriptions().get().size() == 1, "log dirs");
        admin.deleteTopics(List.of("admin")).all().get();
        check(!admin.listTopics().names().get().contains("admin"), "deleted");
        passed("administration");
    }

    static void idempotent() throws Exception {
        topic("idempotent", 1);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer(Map.of("enable.idempotence", true, "compression.type", codec, "linger.ms", 1))) {
                for (int i = 0; i < 200; i++) producer.send(new ProducerRecord<>("idempotent", "k" + i, codec + i));
            }
        }
        equal(1000, read("idempotent", "read_committed").size(), "records");
        DescribeProducersResult.PartitionProducerState state = admin.describeProducers(List.of(new TopicPartition("idempotent", 0)))
            .partitionResult(new TopicPartition("idempotent", 0)).get();
        equal(5, state.activeProducers().size(), "producers");
        passed("idempotent producers, every codec");
    }

    static void transactions() throws Exception {
        topic("txn", 2);
        try (KafkaProducer<String, String> producer = producer(Map.of("transactional.id", "t1"))) {
            producer.initTransactions();
            for (int round = 0; round < 6; round++) {
                producer.beginTransaction();
                for (int i = 0; i < 5; i++) producer.send(new ProducerRecord<>("txn", i % 2, null, (round % 2 == 0 ? "yes" : "no") + round + i));
                if (round % 2 == 0) producer.commitTransaction();
                else {
                    producer.flush();
                    producer.abortTransaction();
                }
            }
            equal(30, read("txn", "read_uncommitted").size(), "all records");
            // The second protocol bumps the epoch at every end, the first one never does.
            equal(transactionVersion == 2 ? 6 : 0, admin.describeTransactions(List.of("t1")).description("t1").get().producerEpoch(), "epoch");
            List<String> committed = read("txn", "read_committed");
            equal(15, committed.size(), "committed records");
            check(committed.stream().allMatch(v -> v.startsWith("yes")), "only committed records");

            producer.beginTransaction();
            producer.send(new ProducerRecord<>("txn", 0, null, "open")).get();
            TopicPartition p0 = new TopicPartition("txn", 0);
            long stable = admin.listOffsets(Map.of(p0, OffsetSpec.latest()), new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).partitionResult(p0).get().offset();
            long end = admin.listOffsets(Map.of(p0, OffsetSpec.latest())).partitionResult(p0).get().offset();
            equal(end - 1, stable, "last stable offset stops at the open transaction");
            equal(TransactionState.ONGOING, admin.describeTransactions(List.of("t1")).description("t1").get().state(), "state");
            check(admin.listTransactions().all().get().stream().anyMatch(t -> t.transactionalId().equals("t1")), "listed");
            producer.commitTransaction();
        }
        equal(16, read("txn", "read_committed").size(), "after the last commit");
        passed("transactions: commit, abort, last stable offset");
    }

    static void fencing() throws Exception {
        topic("fence", 1);
        try (KafkaProducer<String, String> old = producer(Map.of("transactional.id", "f1"));
             KafkaProducer<String, String> young = producer(Map.of("transactional.id", "f1"))) {
            old.initTransactions();
            old.beginTransaction();
            old.send(new ProducerRecord<>("fence", "old")).get();
            young.initTransactions();
            boolean fenced = false;
            try {
                old.send(new ProducerRecord<>("fence", "zombie")).get();
                old.commitTransaction();
            } catch (ProducerFencedException | InvalidProducerEpochException e) {
                fenced = true;
            } catch (ExecutionException e) {
                fenced = e.getCause() instanceof ProducerFencedException || e.getCause() instanceof InvalidProducerEpochException;
                check(fenced, "fenced by " + e.getCause());
            }
            check(fenced, "the old producer must be fenced");
            young.beginTransaction();
            young.send(new ProducerRecord<>("fence", "young"));
            young.commitTransaction();
            equal(List.of("young"), read("fence", "read_committed"), "the old producer's records are aborted");

            young.beginTransaction();
            young.send(new ProducerRecord<>("fence", "again")).get();
            admin.fenceProducers(List.of("f1")).all().get();
            try {
                young.commitTransaction();
                throw new AssertionError("fenced by the administrator, and yet committed");
            } catch (ProducerFencedException | InvalidProducerEpochException e) {
                // as it should be
            }
        }
        equal(List.of("young"), read("fence", "read_committed"), "after fencing");
        passed("fencing by a newer producer and by the administrator");
    }

    static void offsetsInTransactions() throws Exception {
        topic("source", 1);
        topic("sink", 1);
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int i = 0; i < 10; i++) producer.send(new ProducerRecord<>("source", "v" + i));
        }
        TopicPartition source = new TopicPartition("source", 0);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", "eos", "max.poll.records", 5));
             KafkaProducer<String, String> producer = producer(Map.of("transactional.id", "eos"))) {
            producer.initTransactions();
            consumer.subscribe(List.of("source"));
            int rounds = 0;
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
            while (rounds < 2 && System.nanoTime() < deadline) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) continue;
                producer.beginTransaction();
                records.forEach(r -> producer.send(new ProducerRecord<>("sink", r.value())));
                Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(source, new OffsetAndMetadata(consumer.position(source)));
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (rounds == 0) producer.commitTransaction();
                else producer.abortTransaction();
                rounds++;
            }
            equal(2, rounds, "rounds");
        }
        equal(5L, admin.listConsumerGroupOffsets("eos").partitionsToOffsetAndMetadata().get().get(source).offset(), "offset of the committed round");
        equal(5, read("sink", "read_committed").size(), "records of the committed round");
        passed("offsets in transactions");
    }

    static void timeout() throws Exception {
        topic("timeout", 1);
        try (KafkaProducer<String, String> producer = producer(Map.of("transactional.id", "slow", "transaction.timeout.ms", 1000))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("timeout", "late")).get();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
            while (admin.describeTransactions(List.of("slow")).description("slow").get().state() == TransactionState.ONGOING) {
                check(System.nanoTime() < deadline, "the transaction did not time out");
                Thread.sleep(100);
            }
            try {
                producer.commitTransaction();
                throw new AssertionError("timed out, and yet committed");
            } catch (KafkaException e) {
                // as it should be
            }
        }
        equal(List.of(), read("timeout", "read_committed"), "nothing committed");
        passed("transaction timeout");
    }

    /** The broker cleans every second; segments are small, so that there is something to clean. */
    static void cleaning() throws Exception {
        Map<String, String> small = Map.of("segment.bytes", "2000");
        Map<String, String> compact = new HashMap<>(small);
        compact.putAll(Map.of("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01"));
        Map<String, String> limited = new HashMap<>(small);
        limited.put("retention.bytes", "4000");
        admin.createTopics(List.of(new NewTopic("compacted", 1, (short) 1).configs(compact), new NewTopic("limited", 1, (short) 1).configs(limited))).all().get();
        try (KafkaProducer<String, String> producer = producer(Map.of("batch.size", 200, "compression.type", "lz4"));
             KafkaProducer<String, String> transactional = producer(Map.of("transactional.id", "cleaned"))) {
            transactional.initTransactions();
            transactional.beginTransaction();
            for (int i = 0; i < 10; i++) transactional.send(new ProducerRecord<>("compacted", "k" + i, "aborted"));
            transactional.flush();
            transactional.abortTransaction();
            for (int i = 0; i < 1000; i++) {
                producer.send(new ProducerRecord<>("compacted", "k" + i % 10, "v" + i));
                producer.send(new ProducerRecord<>("limited", "k" + i % 10, "v" + i));
            }
            producer.send(new ProducerRecord<>("compacted", "k3", null));
        }
        TopicPartition limit = new TopicPartition("limited", 0);
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (read("compacted", "read_committed").size() > 300 || admin.listOffsets(Map.of(limit, OffsetSpec.earliest())).partitionResult(limit).get().offset() == 0) {
            check(System.nanoTime() < deadline, "not cleaned: " + read("compacted", "read_committed").size() + " records left");
            Thread.sleep(200);
        }
        Map<String, String> table = new TreeMap<>();
        TopicPartition partition = new TopicPartition("compacted", 0);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            equal(1012L, end, "offsets are kept");
            while (consumer.position(partition) < end) consumer.poll(Duration.ofMillis(100)).forEach(r -> table.put(r.key(), String.valueOf(r.value())));
        }
        equal("{k0=v990, k1=v991, k2=v992, k3=null, k4=v994, k5=v995, k6=v996, k7=v997, k8=v998, k9=v999}", table.toString(), "last values");
        List<String> kept = read("limited", "read_committed");
        check(kept.size() < 500 && kept.get(kept.size() - 1).equals("v999"), "the newest are kept: " + kept.size());
        passed("compaction and retention");
    }

    static void pattern() throws Exception {
        topic("pattern-1", 1);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", "pattern", "group.protocol", "consumer", "group.remote.assignor", "range"))) {
            consumer.subscribe(new SubscriptionPattern("pattern-.*"));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            boolean grown = false;
            while (consumer.assignment().size() != 3) {
                check(System.nanoTime() < deadline, "pattern: " + consumer.assignment());
                consumer.poll(Duration.ofMillis(50));
                if (!grown && consumer.assignment().size() == 1) {
                    topic("pattern-2", 2);
                    grown = true;
                }
            }
        }
        passed("subscription by pattern, range assignor, new topics");
    }

    static void groups(String protocol) throws Exception {
        String topic = "groups-" + protocol, group = "group-" + protocol;
        topic(topic, 4);
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int i = 0; i < 100; i++) producer.send(new ProducerRecord<>(topic, i % 4, null, "v" + i));
        }
        Map<String, Object> config = Map.of("group.id", group, "group.protocol", protocol);
        Set<String> seen = new TreeSet<>();
        try (KafkaConsumer<String, String> first = consumer(config)) {
            first.subscribe(List.of(topic));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            while (seen.size() < 100) {
                check(System.nanoTime() < deadline, protocol + ": only " + seen.size() + " records");
                first.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.value()));
            }
            first.commitSync();
            Thread other = null;
            try (KafkaConsumer<String, String> second = consumer(config)) {
                second.subscribe(List.of(topic));
                while (first.assignment().size() != 2 || second.assignment().size() != 2) {
                    check(System.nanoTime() < deadline, protocol + ": " + first.assignment() + " and " + second.assignment());
                    first.poll(Duration.ofMillis(50));
                    check(second.poll(Duration.ofMillis(50)).isEmpty(), "everything was committed");
                }
                Set<TopicPartition> all = new HashSet<>(first.assignment());
                all.addAll(second.assignment());
                equal(4, all.size(), "every partition has one owner");
                if (protocol.equals("classic")) {
                    equal(2, admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), "members");
                } else {
                    ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                    equal(GroupType.CONSUMER, described.type(), "type");
                    equal(2, described.members().size(), "members");
                }
            }
            while (first.assignment().size() != 4) {
                check(System.nanoTime() < deadline, protocol + ": after a member left: " + first.assignment());
                first.poll(Duration.ofMillis(50));
            }
            first.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7, "note")));
        }
        OffsetAndMetadata at = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(new TopicPartition(topic, 0));
        equal(new OffsetAndMetadata(7, at.leaderEpoch(), "note"), at, "committed offset");
        passed("groups of the " + protocol + " protocol");
    }

    static void groupAdministration() throws Exception {
        check(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals("group-consumer")), "listed");
        TopicPartition p1 = new TopicPartition("groups-classic", 1);
        admin.alterConsumerGroupOffsets("group-classic", Map.of(p1, new OffsetAndMetadata(3))).all().get();
        equal(3L, admin.listConsumerGroupOffsets("group-classic").partitionsToOffsetAndMetadata().get().get(p1).offset(), "altered");
        admin.deleteConsumerGroupOffsets("group-classic", Set.of(p1)).all().get();
        check(admin.listConsumerGroupOffsets("group-classic").partitionsToOffsetAndMetadata().get().get(p1) == null, "offset deleted");
        try (KafkaConsumer<String, String> fixed = consumer(Map.of("group.id", "fixed", "group.instance.id", "one"))) {
            fixed.subscribe(List.of("groups-classic"));
            while (fixed.assignment().isEmpty()) fixed.poll(Duration.ofMillis(50));
            fails(GroupNotEmptyException.class, admin.deleteConsumerGroups(List.of("fixed")).all());
            admin.removeMembersFromConsumerGroup("fixed", new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("one")))).all().get();
        }
        admin.deleteConsumerGroups(List.of("group-classic", "group-consumer")).all().get();
        fails(GroupIdNotFoundException.class, admin.deleteConsumerGroups(List.of("group-classic")).all());
        passed("group administration");
    }
}
