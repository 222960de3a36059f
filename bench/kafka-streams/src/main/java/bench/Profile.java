package bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/**
 * A visitor's profile: the attributes of the reference job, added to by events.
 *
 * <p>Its bytes are Avro by bench/peers/kafka_streams.py's schema, written and read field by field:
 * the same bytes go to the store, its changelog and the topic of profiles.
 */
final class Profile {
  private static final int LATEST = 5;
  private static final ThreadLocal<BinaryDecoder> DECODER = new ThreadLocal<>();
  private static final ThreadLocal<BinaryEncoder> ENCODER = new ThreadLocal<>();
  private static final ThreadLocal<ByteArrayOutputStream> OUT =
      ThreadLocal.withInitial(() -> new ByteArrayOutputStream(1024));

  /** A line item's place in time. */
  record Sku(String sku, long time, String event, int item) {}

  private static final Comparator<Sku> NEWEST_FIRST =
      Comparator.comparingLong(Sku::time)
          .thenComparing(Sku::event)
          .thenComparingInt(Sku::item)
          .reversed();

  long orders;
  long returns;
  long revenue;
  long lastTime = Long.MIN_VALUE;
  String lastEvent = "";
  String lastStore = "";
  long largest;
  final Map<String, Long> units = new TreeMap<>();
  List<Sku> skus = new ArrayList<>(LATEST + 4);

  /** Fold one event: Avro behind five bytes of framing, fields in the schema's order. */
  Profile add(byte[] event) {
    try {
      BinaryDecoder in = decoder(event, 5, event.length - 5);
      String id = in.readString();
      boolean sale = in.readEnum() == 0;
      in.skipString(); // visitor_id
      String store = in.readString();
      in.readInt(); // register_id
      in.skipString(); // receipt_id
      long time = in.readLong();
      in.skipString(); // currency
      long total = in.readLong();
      in.skipString(); // payment_method
      if (in.readIndex() == 1) {
        in.skipString(); // campaign
      }
      int item = 0;
      for (long left = in.readArrayStart(); left > 0; left = in.arrayNext()) {
        for (long n = 0; n < left; n++) {
          String sku = in.readString();
          units.merge(in.readString(), item(in), Long::sum);
          skus.add(new Sku(sku, time, id, item++));
        }
      }
      if (sale) {
        orders++;
        revenue += total;
      } else {
        returns++;
        revenue -= total;
      }
      if (time > lastTime || (time == lastTime && id.compareTo(lastEvent) > 0)) {
        lastTime = time;
        lastEvent = id;
        lastStore = store;
      }
      largest = Math.max(largest, total);
      skus.sort(NEWEST_FIRST);
      while (skus.size() > LATEST) {
        skus.remove(skus.size() - 1);
      }
      return this;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Read the rest of an item; gives its quantity. */
  private static long item(BinaryDecoder in) throws IOException {
    long quantity = in.readInt();
    in.readLong(); // unit_price_minor
    return quantity;
  }

  byte[] write() {
    try {
      ByteArrayOutputStream bytes = OUT.get();
      bytes.reset();
      BinaryEncoder out = EncoderFactory.get().binaryEncoder(bytes, ENCODER.get());
      ENCODER.set(out);
      out.writeLong(orders);
      out.writeLong(returns);
      out.writeLong(revenue);
      out.writeLong(lastTime);
      out.writeString(lastEvent);
      out.writeString(lastStore);
      out.writeLong(largest);
      out.writeArrayStart();
      out.setItemCount(units.size());
      for (Map.Entry<String, Long> one : units.entrySet()) {
        out.startItem();
        out.writeString(one.getKey());
        out.writeLong(one.getValue());
      }
      out.writeArrayEnd();
      out.writeArrayStart();
      out.setItemCount(skus.size());
      for (Sku one : skus) {
        out.startItem();
        out.writeString(one.sku());
        out.writeLong(one.time());
        out.writeString(one.event());
        out.writeInt(one.item());
      }
      out.writeArrayEnd();
      out.flush();
      return bytes.toByteArray();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  static Profile read(byte[] bytes) {
    try {
      BinaryDecoder in = decoder(bytes, 0, bytes.length);
      Profile found = new Profile();
      found.orders = in.readLong();
      found.returns = in.readLong();
      found.revenue = in.readLong();
      found.lastTime = in.readLong();
      found.lastEvent = in.readString();
      found.lastStore = in.readString();
      found.largest = in.readLong();
      for (long left = in.readArrayStart(); left > 0; left = in.arrayNext()) {
        for (long n = 0; n < left; n++) {
          found.units.put(in.readString(), in.readLong());
        }
      }
      for (long left = in.readArrayStart(); left > 0; left = in.arrayNext()) {
        for (long n = 0; n < left; n++) {
          found.skus.add(new Sku(in.readString(), in.readLong(), in.readString(), in.readInt()));
        }
      }
      return found;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static BinaryDecoder decoder(byte[] bytes, int start, int length) {
    BinaryDecoder in = DecoderFactory.get().binaryDecoder(bytes, start, length, DECODER.get());
    DECODER.set(in);
    return in;
  }
}
