// Prints what the JVM's assignors make of random groups, for assignors.txt:
//   java -cp "$KAFKA_JARS/*" Assignors.java > assignors.txt
// One case: "assignor", "topics", a "member" line each (what it wants; what it had and in which generation), a "gets" line each.
import java.nio.ByteBuffer;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.*;
import org.apache.kafka.common.*;

public class Assignors {
    static final Random random = new Random(42);

    static String show(Collection<TopicPartition> partitions) {
        return partitions.stream().map(Object::toString).sorted().collect(Collectors.joining(" "));
    }

    public static void main(String[] args) {
        for (String name : List.of("range", "roundrobin", "sticky", "cooperative-sticky"))
            for (int group = 0; group < (name.contains("sticky") ? 40 : 20); group++) group(name, group % 2 == 0);
    }

    static void group(String name, boolean same) {
        Map<String, Integer> topics = new TreeMap<>();
        for (int i = 0, n = 1 + random.nextInt(4); i < n; i++) topics.put("t" + i, random.nextInt(8));
        Node node = new Node(0, "localhost", 9092);
        List<PartitionInfo> infos = new ArrayList<>();
        topics.forEach((topic, count) -> {
            for (int i = 0; i < count; i++) infos.add(new PartitionInfo(topic, i, node, new Node[] {node}, new Node[] {node}));
        });
        Cluster cluster = new Cluster("c", List.of(node), infos, Set.of(), Set.of());
        Map<String, List<TopicPartition>> had = new TreeMap<>();
        Map<String, List<String>> wants = new TreeMap<>();
        for (int generation = 0; generation < (name.contains("sticky") ? 3 : 1); generation++) {
            // Some come, some go, some change their minds.
            for (int i = 0, n = 1 + random.nextInt(3); i < n; i++) wants.put("m" + random.nextInt(9), wish(topics.keySet(), same));
            if (generation > 0 && wants.size() > 1) wants.remove(wants.keySet().iterator().next());
            run(name, generation, cluster, topics, wants, had);
        }
    }

    static List<String> wish(Set<String> topics, boolean same) {
        List<String> wish = topics.stream().filter(topic -> same || random.nextBoolean()).collect(Collectors.toList());
        return wish.isEmpty() ? new ArrayList<>(topics) : wish;
    }

    static void run(String name, int generation, Cluster cluster, Map<String, Integer> topics, Map<String, List<String>> wants,
            Map<String, List<TopicPartition>> had) {
        System.out.println("assignor " + name);
        System.out.println("topics" + topics.entrySet().stream().map(of -> " " + of.getKey() + "=" + of.getValue()).collect(Collectors.joining()));
        Map<String, Subscription> subscriptions = new TreeMap<>();
        wants.forEach((member, wanted) -> {
            List<TopicPartition> own = had.getOrDefault(member, List.of());
            int last = had.containsKey(member) ? generation - 1 : -1;
            ByteBuffer userData = null;
            List<TopicPartition> owned = List.of();
            if (name.equals("sticky")) {
                StickyAssignor mine = new StickyAssignor();
                if (last >= 0) mine.onAssignment(new Assignment(own), new ConsumerGroupMetadata("g", last, member, Optional.empty()));
                userData = mine.subscriptionUserData(new TreeSet<>(wanted));
            } else if (name.equals("cooperative-sticky")) {
                owned = own;
            }
            Optional<String> instance = name.contains("sticky") || member.hashCode() % 2 == 0 ? Optional.empty() : Optional.of("i" + (9 - (member.charAt(1) - '0')));
            Subscription subscription = new Subscription(wanted, userData, owned, last, Optional.empty());
            subscription.setGroupInstanceId(instance);
            subscriptions.put(member, subscription);
            System.out.println("member " + member + " instance " + instance.orElse("") + " wants " + String.join(" ", wanted)
                + " had " + (name.contains("sticky") ? show(own) : "") + " generation " + last);
        });
        ConsumerPartitionAssignor assignor = switch (name) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            case "sticky" -> new StickyAssignor();
            default -> new CooperativeStickyAssignor();
        };
        had.clear();
        new TreeMap<>(assignor.assign(cluster, new GroupSubscription(subscriptions)).groupAssignment()).forEach((member, assignment) -> {
            had.put(member, assignment.partitions());
            System.out.println("gets " + member + " " + show(assignment.partitions()));
        });
    }
}
