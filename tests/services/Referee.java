import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.storage.Converter;
import org.apache.kafka.connect.storage.HeaderConverter;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Runs a case a line, {"config":{…},"input":[…]}, through the JVM's own converters and transforms, and prints the answers
 * to each as one line, after a line with the version of Java. The configurations have to be good: nothing of Connect's checks runs here.
 */
public class Referee {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String SIMPLE = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

    /** A failure with the stage that it happened in. */
    static class Failed extends Exception {
        final String stage;

        Failed(String stage, Throwable cause) {
            super(cause);
            this.stage = stage;
        }
    }

    interface Work<T> {
        T run() throws Exception;
    }

    static <T> T at(String stage, Work<T> work) throws Failed {
        try {
            return work.run();
        } catch (Exception e) {
            throw new Failed(stage, e);
        }
    }

    final Map<String, String> config;
    final Converter keyIn, valueIn, keyOut, valueOut;
    final HeaderConverter headerIn, headerOut;
    final List<Transformation<SinkRecord>> chain = new ArrayList<>();

    Referee(Map<String, String> config) throws Exception {
        this.config = config;
        keyIn = converter("key.converter", true);
        valueIn = converter("value.converter", false);
        headerIn = headers("header.converter");
        keyOut = config.containsKey("output.key.converter") ? converter("output.key.converter", true) : converter("key.converter", true);
        valueOut = config.containsKey("output.value.converter") ? converter("output.value.converter", false) : converter("value.converter", false);
        headerOut = headers(config.containsKey("output.header.converter") ? "output.header.converter" : "header.converter");
        for (String alias : config.getOrDefault("transforms", "").split(",")) {
            if (!alias.isBlank()) {
                Transformation<SinkRecord> step = make(config.get("transforms." + alias + ".type"));
                step.configure(below("transforms." + alias + "."));
                chain.add(step);
            }
        }
    }

    @SuppressWarnings("unchecked")
    static <T> T make(String name) throws Exception {
        return (T) Class.forName(name).getDeclaredConstructor().newInstance();
    }

    Map<String, String> below(String prefix) {
        Map<String, String> found = new LinkedHashMap<>();
        config.forEach((key, value) -> {
            if (key.startsWith(prefix)) {
                found.put(key.substring(prefix.length()), value);
            }
        });
        return found;
    }

    Converter converter(String key, boolean isKey) throws Exception {
        Converter converter = make(config.get(key));
        converter.configure(below(key + "."), isKey);
        return converter;
    }

    HeaderConverter headers(String key) throws Exception {
        HeaderConverter converter = make(config.getOrDefault(key, SIMPLE));
        Map<String, String> own = below(key + ".");
        own.put("converter.type", "header");
        converter.configure(own);
        return converter;
    }

    SinkRecord read(JsonNode line) throws Failed {
        String topic = line.get("topic").asText();
        RecordHeaders none = new RecordHeaders();
        SchemaAndValue key = at("KEY_CONVERTER", () -> keyIn.toConnectData(topic, none, bytes(line.get("key"))));
        SchemaAndValue value = at("VALUE_CONVERTER", () -> valueIn.toConnectData(topic, none, bytes(line.get("value"))));
        ConnectHeaders headers = at("HEADER_CONVERTER", () -> {
            ConnectHeaders read = new ConnectHeaders();
            for (JsonNode header : line.get("headers")) {
                String name = header.get("key").asText();
                read.add(name, headerIn.toConnectHeader(topic, name, bytes(header.get("value"))));
            }
            return read;
        });
        Long timestamp = line.get("timestamp").isNull() ? null : line.get("timestamp").asLong();
        return new SinkRecord(topic, line.get("partition").asInt(), key.schema(), key.value(), value.schema(), value.value(),
            line.get("offset").asLong(), timestamp, TimestampType.forName(line.get("timestampType").asText()), headers);
    }

    SinkRecord transform(SinkRecord record) throws Failed {
        SinkRecord current = record;
        for (Transformation<SinkRecord> step : chain) {
            SinkRecord before = current;
            current = at("TRANSFORMATION", () -> step.apply(before));
            if (current == null) {
                return null;
            }
        }
        return current;
    }

    ObjectNode write(SinkRecord record) throws Failed {
        return at("OUTPUT_CONVERTER", () -> {
            ArrayNode headers = JSON.createArrayNode();
            for (Header header : record.headers()) {
                byte[] value = headerOut.fromConnectHeader(record.topic(), header.key(), header.schema(), header.value());
                headers.addObject().put("key", header.key()).put("value", text(value));
            }
            RecordHeaders none = new RecordHeaders();
            byte[] key = keyOut.fromConnectData(record.topic(), none, record.keySchema(), record.key());
            byte[] value = valueOut.fromConnectData(record.topic(), none, record.valueSchema(), record.value());
            ObjectNode answer = JSON.createObjectNode();
            answer.put("topic", record.topic());
            answer.put("partition", record.kafkaPartition());
            answer.put("timestamp", record.timestamp());
            answer.put("key", text(key));
            answer.put("value", text(value));
            answer.set("headers", headers);
            answer.put("keyJava", java(record.key()));
            answer.put("valueJava", java(record.value()));
            answer.set("keySchema", schema(record.keySchema()));
            answer.set("valueSchema", schema(record.valueSchema()));
            return answer;
        });
    }

    ObjectNode answer(JsonNode line) {
        try {
            SinkRecord record = transform(read(line));
            return record == null ? JSON.createObjectNode().put("dropped", true) : write(record);
        } catch (Failed failed) {
            Throwable cause = failed.getCause();
            ObjectNode answer = JSON.createObjectNode();
            answer.putObject("error").put("stage", failed.stage).put("class", cause.getClass().getName()).put("message", cause.getMessage());
            return answer;
        }
    }

    static byte[] bytes(JsonNode node) {
        return node.isNull() ? null : Base64.getDecoder().decode(node.asText());
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    static String java(Object value) {
        return String.valueOf(value).replaceAll("\\[B@[0-9a-f]+", "[B@*");
    }

    /** Members in a fixed order, absent where they say nothing. */
    static JsonNode schema(Schema schema) {
        if (schema == null) {
            return JSON.nullNode();
        }
        ObjectNode text = JSON.createObjectNode().put("type", schema.type().getName());
        if (schema.isOptional()) {
            text.put("optional", true);
        }
        if (schema.name() != null) {
            text.put("name", schema.name());
        }
        if (schema.version() != null) {
            text.put("version", schema.version());
        }
        if (schema.doc() != null) {
            text.put("doc", schema.doc());
        }
        if (schema.parameters() != null && !schema.parameters().isEmpty()) {
            text.set("parameters", JSON.valueToTree(new TreeMap<>(schema.parameters())));
        }
        if (schema.defaultValue() != null) {
            text.set("default", constant(schema.defaultValue()));
        }
        switch (schema.type()) {
            case STRUCT:
                ArrayNode fields = text.putArray("fields");
                for (Field field : schema.fields()) {
                    fields.addObject().put("field", field.name()).set("schema", schema(field.schema()));
                }
                break;
            case MAP:
                text.set("keys", schema(schema.keySchema()));
                text.set("values", schema(schema.valueSchema()));
                break;
            case ARRAY:
                text.set("values", schema(schema.valueSchema()));
                break;
            default:
        }
        return text;
    }

    static JsonNode constant(Object value) {
        if (value == null) {
            return JSON.nullNode();
        } else if (value instanceof Boolean) {
            return JSON.valueToTree(value);
        } else if (value instanceof Date) {
            return JSON.createObjectNode().put("epochMs", ((Date) value).getTime());
        } else if (value instanceof byte[]) {
            return JSON.createObjectNode().put("base64", text((byte[]) value));
        } else if (value instanceof List) {
            ArrayNode items = JSON.createArrayNode();
            ((List<?>) value).forEach(item -> items.add(constant(item)));
            return items;
        } else if (value instanceof Map) {
            TreeMap<String, JsonNode> sorted = new TreeMap<>();
            ((Map<?, ?>) value).forEach((key, item) -> sorted.put(String.valueOf(key), constant(item)));
            ObjectNode members = JSON.createObjectNode();
            sorted.forEach(members::set);
            return members;
        } else if (value instanceof Struct) {
            ObjectNode members = JSON.createObjectNode();
            Struct struct = (Struct) value;
            struct.schema().fields().forEach(field -> members.set(field.name(), constant(struct.getWithoutDefault(field.name()))));
            return members;
        }
        return JSON.getNodeFactory().textNode(value.toString());
    }

    public static void main(String[] args) throws Exception {
        Locale.setDefault(Locale.US);
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        out.println(Runtime.version().feature());
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode test = JSON.readTree(line);
            Map<String, String> config = new LinkedHashMap<>();
            test.get("config").properties().forEach(entry -> config.put(entry.getKey(), entry.getValue().asText()));
            Referee referee = new Referee(config);
            ArrayNode answers = JSON.createArrayNode();
            test.get("input").forEach(record -> answers.add(referee.answer(record)));
            out.println(JSON.writeValueAsString(answers));
        }
        out.flush();
    }
}
