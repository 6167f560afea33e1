import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/** One Elasticsearch node of a home folder and a config folder. The distribution's own main refuses to run as root. */
public class SearchNode {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]), config = Path.of(arguments[1]);
        LogConfigurator.registerErrorListener();
        Settings settings = Settings.builder().put("path.home", home.toString()).build();
        var environment = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> "test");
        LogConfigurator.configure(environment, true);
        var modules = PluginsLoader.loadModulesBundles(home.resolve("modules"), false);
        new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), false)).start();
        Thread.currentThread().join();
    }
}
