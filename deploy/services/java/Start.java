import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/** Runs one Elasticsearch node from its jars until it is told to end. Arguments: home (config, modules), data folder, HTTP port. */
public final class Start {
  public static void main(String[] args) throws Exception {
    Path home = Path.of(args[0]).toAbsolutePath();
    LogConfigurator.configureESLogging();
    LogConfigurator.setNodeName("yingda-1");
    Settings settings = Settings.builder()
        .put("path.home", home)
        .put("path.data", args[1])
        .put("cluster.name", "yingda-services")
        .put("node.name", "yingda-1")
        .put("discovery.type", "single-node")
        .put("http.type", "netty4")
        .put("http.host", "127.0.0.1")
        .put("http.port", args[2])
        .put("transport.type", "netty4")
        .put("transport.host", "127.0.0.1")
        .put("transport.port", "0")
        .put("cluster.routing.allocation.disk.threshold_enabled", false)
        .build();
    Environment environment = new Environment(settings, home.resolve("config"));
    PluginsLoader plugins = PluginsLoader.createPluginsLoader(
        PluginsLoader.loadModulesBundles(environment.modulesDir()), PluginsLoader.loadPluginsBundles(environment.pluginsDir()), Map.of(), false);
    Node node = new Node(environment, plugins);
    CountDownLatch end = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        node.prepareForClose();
        node.close();
        node.awaitClose(10, TimeUnit.SECONDS);
      } catch (Exception e) {
        e.printStackTrace();
      }
      end.countDown();
    }));
    node.start();
    end.await();
  }
}
