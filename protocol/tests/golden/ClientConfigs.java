// Writes what the clients of Apache Kafka say of their settings: client, name, type, default, validator. With Kafka's jars:
//   java -cp "$KAFKA_JARS/*" ClientConfigs.java > client_configs.tsv
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.config.ConfigDef;
public class ClientConfigs {
    public static void main(String[] args) throws Exception {
        Map<String, ConfigDef> all = new TreeMap<>();
        all.put("producer", ProducerConfig.configDef());
        all.put("consumer", ConsumerConfig.configDef());
        all.put("admin", AdminClientConfig.configDef());
        for (Map.Entry<String, ConfigDef> of : all.entrySet())
            for (ConfigDef.ConfigKey key : new TreeMap<>(of.getValue().configKeys()).values()) {
                String def = key.hasDefault() ? String.valueOf(ConfigDef.convertToString(key.defaultValue, key.type)) : "<required>";
                System.out.println(String.join("\t", of.getKey(), key.name, key.type.toString(), def.replace("\n"," "), String.valueOf(key.validator).replace("\n"," ")));
            }
    }
}
