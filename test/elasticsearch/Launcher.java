import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;

import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;

/**
 * Boots one search engine node on loopback from the engine's own jars:
 * {@code Launcher DISTRIBUTION DATA PORT [key=value ...]}.
 *
 * <p>DISTRIBUTION holds modules/transport-netty4 (made by up.sh) and is only read; DATA gets the node's data, logs and configuration.
 * The versions differ in how a node is constructed, so that step is reflective; everything else binds to any of them.
 */
public final class Launcher {
    public static void main(String[] args) throws Exception {
        Path distribution = Path.of(args[0]).toAbsolutePath();
        Path data = Path.of(args[1]).toAbsolutePath();
        Path config = Files.createDirectories(data.resolve("config"));
        Settings.Builder settings = Settings.builder()
            .put("path.home", distribution.toString())
            .put("path.data", data.resolve("data").toString())
            .put("path.logs", data.resolve("logs").toString())
            .put("cluster.name", "binnacle-test")
            .put("node.name", "n0")
            .put("network.host", "127.0.0.1")
            .put("http.port", args[2])
            .put("transport.port", "0")
            .put("discovery.type", "single-node")
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (String setting : Arrays.copyOfRange(args, 3, args.length)) {
            int eq = setting.indexOf('=');
            if (eq < 1) {
                throw new IllegalArgumentException("not a setting, want key=value: " + setting);
            }
            settings.put(setting.substring(0, eq), setting.substring(eq + 1));
        }
        configureLogging();
        Node node = newNode(InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), config, () -> "n0"));
        node.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        System.out.println("started on 127.0.0.1:" + args[2]);
        Thread.currentThread().join();
    }

    /** Newer Elasticsearch wants this before the first logger; 7.17 and OpenSearch do not have it. */
    private static void configureLogging() throws Exception {
        try {
            org.elasticsearch.common.logging.LogConfigurator.class.getMethod("configureESLogging").invoke(null);
        } catch (NoSuchMethodException | NoClassDefFoundError notNeeded) {
            return;
        }
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (Exception e) {
            e.printStackTrace();
        }
    }

    private static Node newNode(Environment environment) throws Exception {
        Class<?> loader;
        try {
            loader = Class.forName("org.elasticsearch.plugins.PluginsLoader");
        } catch (ClassNotFoundException older) {
            return Node.class.getConstructor(Environment.class).newInstance(environment);
        }
        Path modulesFolder = (Path) environment.getClass().getMethod("modulesDir").invoke(environment);
        Object modules = callLongest(loader, "loadModulesBundles", modulesFolder);
        Object plugins = callLongest(loader, "createPluginsLoader", modules, Set.of(), Map.of());
        return (Node) Node.class.getConstructor(Environment.class, loader).newInstance(environment, plugins);
    }

    /** Calls the longest overload of a static method; the flags that newer versions added to it are false. */
    private static Object callLongest(Class<?> type, String name, Object... args) throws Exception {
        Method longest = Arrays.stream(type.getMethods())
            .filter(m -> m.getName().equals(name))
            .max((a, b) -> a.getParameterCount() - b.getParameterCount())
            .orElseThrow(() -> new NoSuchMethodException(type + "." + name));
        Object[] all = Arrays.copyOf(args, longest.getParameterCount());
        Arrays.fill(all, args.length, all.length, false);
        return longest.invoke(null, all);
    }
}
