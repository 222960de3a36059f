package bench;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The reference job on Kafka Streams: EOS v2, two threads, RocksDB, a commit a second.
 *
 * <p>Arguments: bootstrap servers, input topic, application id, output topic, state directory,
 * records in the topic. Prints a line a sample of its course: done, wall and CPU seconds.
 */
public final class Job {
  private static final long LOOK_MS = 10;
  private static final LongAdder DONE = new LongAdder();

  private Job() {}

  /** Runs until all records are folded, closes (which commits), and ends. */
  public static void main(String[] words) throws Exception {
    long records = Long.parseLong(words[5]);
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, words[2]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, words[4]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "1000");
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, String.valueOf(64L << 20));
    settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    settings.put(StreamsConfig.consumerPrefix("max.poll.records"), "5000");
    settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
    settings.put(StreamsConfig.producerPrefix("linger.ms"), "100");
    settings.put(StreamsConfig.producerPrefix("batch.size"), "262144");

    StreamsBuilder builder = new StreamsBuilder();
    Serde<Profile> profiles =
        Serdes.serdeFrom(
            (topic, profile) -> profile == null ? null : profile.write(),
            (topic, bytes) -> bytes == null ? null : Profile.read(bytes));
    builder.stream(words[1], Consumed.with(Serdes.String(), Serdes.ByteArray()))
        .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()))
        .aggregate(
            Profile::new,
            (visitor, event, profile) -> {
              DONE.increment();
              return profile.add(event);
            },
            Materialized.<String, Profile, KeyValueStore<Bytes, byte[]>>as("profiles")
                .withKeySerde(Serdes.String())
                .withValueSerde(profiles))
        .toStream()
        .to(words[3], Produced.with(Serdes.String(), profiles));

    CountDownLatch failed = new CountDownLatch(1);
    try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
      streams.setUncaughtExceptionHandler(
          error -> {
            error.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
          });
      streams.start();
      while (streams.state() != KafkaStreams.State.RUNNING && failed.getCount() > 0) {
        Thread.sleep(LOOK_MS);
      }
      long done = 0;
      sample(done);
      while (done < records && failed.getCount() > 0) {
        Thread.sleep(LOOK_MS);
        long now = DONE.sum();
        if (now > done) {
          done = now;
          sample(done);
        }
      }
    }
    sample(DONE.sum());
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmHWM:")) {
        System.out.println(line);
      }
    }
    System.exit(failed.getCount() > 0 ? 0 : 1);
  }

  private static void sample(long done) {
    var system =
        (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    System.out.println(
        "bench-sample: " + done + " " + System.nanoTime() / 1e9 + " "
            + system.getProcessCpuTime() / 1e9);
  }
}
