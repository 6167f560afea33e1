import java.io.IOException;
import PACKAGE.RUNNER;

/** One node by Codelibs' RUNNER: arguments are its folder and the HTTP port, after which comes the transport's. */
public class RunnerNode {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[1]);
        var runner = new RUNNER();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try { runner.close(); } catch (IOException e) { e.printStackTrace(); }
        }));
        runner.onBuild((number, settings) -> settings.put("http.port", port).put("transport.port", port + 1)
            .put("network.host", "127.0.0.1").put("discovery.type", "single-node")
            .put("cluster.routing.allocation.disk.threshold_enabled", false));
        runner.build("-basePath", arguments[0], "-numOfNode", "1", "-clusterName", "test");
        Thread.currentThread().join();
    }
}
