// Writes the golden batches with the JVM's own producer. With Kafka's jars and a broker:
//   java -cp "$KAFKA_JARS/*" Golden.java 127.0.0.1:9092 prefix-
// makes the topics prefix-none, prefix-gzip, ..., prefix-transactions. The files beside this one are the first segments
// (00000000000000000000.log) of those topics, copied from the broker's log directory: the batches as the producer compressed them.
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Golden {
    static final long TIME = 1_700_000_000_000L;

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] large() {
        byte[] value = new byte[100_000];
        for (int i = 0; i < value.length; i++) value[i] = (byte) ('a' + (i / 10 + i % 7) % 26);
        return value;
    }

    static Producer<byte[], byte[]> producer(String bootstrap, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 500,
            "batch.size", 1_000_000, "enable.idempotence", false));
        config.putAll(more);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void send(Producer<byte[], byte[]> producer, String topic, long time, byte[] key, byte[] value, RecordHeaders headers) {
        producer.send(new ProducerRecord<>(topic, 0, time, key, value, headers));
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], prefix = args[1];
        List<String> codecs = List.of("none", "gzip", "snappy", "lz4", "zstd");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            List<NewTopic> topics = new ArrayList<>();
            for (String codec : codecs) topics.add(new NewTopic(prefix + codec, 1, (short) 1));
            topics.add(new NewTopic(prefix + "transactions", 1, (short) 1));
            admin.createTopics(topics).all().get();
        }
        for (String codec : codecs) {
            try (var producer = producer(bootstrap, Map.of("compression.type", codec))) {
                String topic = prefix + codec;
                RecordHeaders headers = new RecordHeaders();
                headers.add("h", bytes("1")).add("h", null).add("пример", new byte[0]);
                send(producer, topic, TIME, null, null, new RecordHeaders());
                send(producer, topic, TIME + 5, bytes("k"), bytes("v"), headers);
                if (!codec.equals("none")) send(producer, topic, TIME - 3, bytes("large"), large(), new RecordHeaders());
                send(producer, topic, TIME + 1, new byte[0], new byte[0], new RecordHeaders());
            }
        }
        try (var producer = producer(bootstrap, Map.of("transactional.id", prefix + "tx", "enable.idempotence", true))) {
            producer.initTransactions();
            for (String outcome : List.of("committed", "aborted", "again")) {
                producer.beginTransaction();
                send(producer, prefix + "transactions", TIME, bytes(outcome), bytes(outcome), new RecordHeaders());
                producer.flush();
                if (outcome.equals("aborted")) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
    }
}
