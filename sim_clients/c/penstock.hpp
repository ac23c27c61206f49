// libpenstock for C++17: a client that closes itself, containers in place of pointers, exceptions.
//
//     penstock::Client client;                                          // address: environment
//     std::vector<double> u(nx * ny);
//     while (!client.stop_requested()) {
//       client.put_snapshot(step, {{"u", {u.data(), {nx, ny}}}}, time);
//       client.infer("closure", {{u.data(), {nx, ny}}}, {{stress.data(), {nx, ny}}});
//     }
//     client.end_stream();
//
// Arrays are described, not copied: penstock::Array (to be sent) and penstock::Output (to be filled) hold a
// pointer, dimensions and strides, and live no longer than what they were made of. Elements are double,
// float, integers of 8 to 64 bits, bool, std::complex of float or double; another type does not compile. What
// the database gives without being told where is a penstock::Tensor, which owns its memory and is moved.
//
// A copy is made by asynchronous puts alone. Arrays with strides pass through a small buffer.
//
// Errors are a penstock::Error, or one of the classes below it. Threads: as penstock.h says of a client.

#ifndef PENSTOCK_HPP
#define PENSTOCK_HPP

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "penstock_arrays.hpp"

namespace penstock {

using Seconds = std::chrono::duration<double>;  // 5s, 20ms and so on convert to it

class Client {
 public:
  // address: "host:port[,host:port...]" or "unix://path"; "" is that of the environment.
  explicit Client(const std::string& address = "", Seconds timeout = Seconds(5)) {
    penstock_client* made = nullptr;
    const int status = penstock_connect(address.empty() ? nullptr : address.c_str(), timeout.count(), &made);
    if (status) throw_error(status, nullptr);
    client_.reset(made);  // closes it, once what is queued has been sent
  }
  penstock_client* c() const { return client_.get(); }

  void set_identity(const std::string& producer, std::int64_t rank = -1) {
    check(penstock_set_identity(c(), producer.c_str(), rank));
  }
  std::string producer() const { return penstock_producer(c()); }
  std::int64_t rank() const { return penstock_rank(c()); }
  // How long the database may take to answer one call.
  void set_timeout(Seconds timeout) { check(penstock_set_timeout(c(), timeout.count())); }

  // ---- Tensors

  void put_tensor(const std::string& name, const Array& array) {
    const auto it = array.c();
    check(penstock_put_tensor(c(), name.c_str(), &it));
  }
  // Into an array of the tensor's dtype and shape.
  void get_tensor(const std::string& name, const Output& into) {
    const auto it = into.c();
    check(penstock_get_tensor(c(), name.c_str(), &it));
  }
  Tensor get_tensor(const std::string& name) {
    Tensor found;
    check(penstock_get_tensor_to(c(), name.c_str(), place_one, &found));
    return found;
  }
  penstock_info tensor_info(const std::string& name) {
    penstock_info info;
    check(penstock_tensor_info(c(), name.c_str(), &info));
    return info;
  }
  bool tensor_exists(const std::string& name) {
    int exists = 0;
    check(penstock_tensor_exists(c(), name.c_str(), &exists));
    return exists != 0;
  }
  // No error where there is none.
  void delete_tensor(const std::string& name) { check(penstock_delete_tensor(c(), name.c_str())); }

  // ---- Shared memory: penstock.h has its rules

  // "shared memory", "unix" or "tcp".
  std::string transport() const { return penstock_transport(c()); }
  // Room for an array that is to be put: compute into it, then put its array().
  template <class T>
  Shared<T> lease(const Dims& dims) {
    penstock_view* view = nullptr;
    check(penstock_lease(c(), dtype_of<T>(), static_cast<int>(dims.size()), dims.data(), &view));
    return Shared<T>(view);
  }
  // A tensor where it lies, whose elements are of this type.
  template <class T>
  Shared<const T> map_tensor(const std::string& name) {
    penstock_view* view = nullptr;
    check(penstock_map_tensor(c(), name.c_str(), &view));
    Shared<const T> found(view);
    const auto dtype = penstock_view_array(view, 0).dtype;
    if (dtype != dtype_of<T>())
      throw TensorError(
          PENSTOCK_TENSOR,
          name + " is " + penstock_dtype_name(dtype) + ", not " + penstock_dtype_name(dtype_of<T>()), name);
    return found;
  }

  // ---- Snapshots

  // Returns what became of it: PENSTOCK_STORED, or what the policy of the stream did where it had no room.
  penstock_outcome put_snapshot(std::int64_t step, std::initializer_list<Field> fields, double time = NAN,
                                const std::string& stream = kStream) {
    const auto list = c_fields(fields.begin(), fields.end());
    check(penstock_put_snapshot(c(), stream.c_str(), step, time, list.data(), static_cast<int>(list.size())));
    return penstock_last_outcome(c());
  }
  // The same for fields whose number is not known when the program is compiled.
  penstock_outcome put_snapshot(std::int64_t step, const std::vector<Field>& fields, double time = NAN,
                                const std::string& stream = kStream) {
    const auto list = c_fields(fields.begin(), fields.end());
    check(penstock_put_snapshot(c(), stream.c_str(), step, time, list.data(), static_cast<int>(list.size())));
    return penstock_last_outcome(c());
  }
  // Tell what is known of a field of a stream, once: it goes with every snapshot that is put from then on.
  void describe_field(const std::string& field, const About& about, const std::string& stream = kStream) {
    std::vector<const char*> dims;
    for (const auto& name : about.dims) dims.push_back(name.c_str());
    const auto rank = std::max({about.dims.size(), about.shape.size(), about.offset.size()});
    for (const auto size : {about.dims.size(), about.shape.size(), about.offset.size()})
      if (size && size != rank)
        throw TensorError(PENSTOCK_TENSOR,
                          "dims, shape and offset of a field have one entry for each dimension", field);
    const penstock_about it = {about.units.empty() ? nullptr : about.units.c_str(), static_cast<int>(rank),
                               dims.empty() ? nullptr : dims.data(),
                               about.shape.empty() ? nullptr : about.shape.data(),
                               about.offset.empty() ? nullptr : about.offset.data()};
    check(penstock_describe_field(c(), stream.c_str(), field.c_str(), &it));
  }
  // What all snapshots of the stream have, as penstock.h says; "" where nobody has put one.
  std::string contract(const std::string& stream = kStream) {
    const char* text = nullptr;
    check(penstock_contract(c(), stream.c_str(), &text));
    return text ? text : "";
  }
  // Remove all that was put in a stream, so that it begins anew.
  void forget_stream(const std::string& stream = kStream) {
    check(penstock_forget_stream(c(), stream.c_str()));
  }
  // The names of the snapshots from a position on.
  std::vector<std::string> snapshot_names(std::int64_t from = 0, const std::string& stream = kStream) {
    const char* const* names = nullptr;
    std::int64_t count = 0;
    check(penstock_snapshot_names(c(), stream.c_str(), from, &names, &count));
    return {names, names + count};
  }
  // The snapshot at a position of the stream, 0 being the first.
  Snapshot get_snapshot(std::int64_t position, const std::string& stream = kStream) {
    std::map<std::string, Tensor> fields;
    penstock_snapshot about;
    check(penstock_get_snapshot(c(), stream.c_str(), position, place_field, &fields, &about));
    Snapshot found = snapshot_of(about);
    found.fields = std::move(fields);
    return found;
  }
  // These fields of it alone, each into its array, which has the field's dtype and shape.
  Snapshot get_snapshot(std::int64_t position, std::initializer_list<Destination> fields,
                        const std::string& stream = kStream) {
    const auto list = c_fields(fields.begin(), fields.end());
    penstock_snapshot about;
    check(penstock_get_snapshot_fields(c(), stream.c_str(), position, list.data(),
                                       static_cast<int>(list.size()), &about));
    return snapshot_of(about);
  }
  // What its fields are, without their numbers.
  Snapshot snapshot_info(std::int64_t position, const std::string& stream = kStream) {
    penstock_snapshot about;
    check(penstock_snapshot_info(c(), stream.c_str(), position, &about));
    return snapshot_of(about);
  }
  std::int64_t announced(const std::string& stream = kStream) {
    std::int64_t count = 0;
    check(penstock_announced(c(), stream.c_str(), &count));
    return count;
  }
  // Tell readers that this rank puts no more snapshots in a stream.
  void end_stream(const std::string& stream = kStream) { check(penstock_end_stream(c(), stream.c_str())); }
  bool stream_ended(const std::string& producer, std::int64_t rank, const std::string& stream = kStream) {
    int ended = 0;
    check(penstock_stream_ended(c(), stream.c_str(), producer.c_str(), rank, &ended));
    return ended != 0;
  }

  // ---- Bounds of streams: how much is kept, who needs it, and how full a stream is. See penstock.h

  void bound_stream(const penstock_bound& bound, const std::string& stream = kStream) {
    check(penstock_bound_stream(c(), stream.c_str(), &bound));
  }
  penstock_fill fill(const std::string& stream = kStream) {
    penstock_fill found;
    check(penstock_stream_fill(c(), stream.c_str(), &found));
    return found;
  }
  // Become a consumer, or go on as one. Returns the first position that it has not acknowledged.
  std::int64_t subscribe(const std::string& consumer, const std::string& stream = kStream) {
    std::int64_t position = 0;
    check(penstock_subscribe(c(), stream.c_str(), consumer.c_str(), &position));
    return position;
  }
  // The positions before this one need not be kept for the consumer.
  void acknowledge(std::int64_t position, const std::string& consumer, const std::string& stream = kStream) {
    check(penstock_acknowledge(c(), stream.c_str(), consumer.c_str(), position));
  }
  void unsubscribe(const std::string& consumer, const std::string& stream = kStream) {
    check(penstock_unsubscribe(c(), stream.c_str(), consumer.c_str()));
  }

  // ---- Flags

  void raise_flag(const std::string& name) { check(penstock_raise_flag(c(), name.c_str())); }
  bool flag_raised(const std::string& name) {
    int raised = 0;
    check(penstock_flag_raised(c(), name.c_str(), &raised));
    return raised != 0;
  }
  void request_stop() { check(penstock_request_stop(c())); }
  bool stop_requested() {
    int requested = 0;
    check(penstock_stop_requested(c(), &requested));
    return requested != 0;
  }

  // ---- Models

  // Store an immutable version and make it the live one; without `promote` it is stored only.
  // archive: a TorchScript file's bytes; about: what is known of it, an object in JSON (docs/models.md).
  void put_model(const std::string& name, const std::string& archive, std::int64_t version,
                 const std::string& device = "CPU", const std::string& about = "{}", bool promote = true) {
    check(penstock_post_model(c(), name.c_str(), archive.data(), archive.size(), version, device.c_str(),
                              about.c_str(), promote));
  }
  std::int64_t model_version(const std::string& name) {
    std::int64_t version = 0;
    check(penstock_model_version(c(), name.c_str(), &version));
    return version;
  }
  // Make a version that is stored the live one, on every shard.
  void promote_model(const std::string& name, std::int64_t version) {
    check(penstock_promote_model(c(), name.c_str(), version));
  }
  // Tell whoever posts a model how well a version does here; less is better, NaN where it has blown up.
  void report_error(const std::string& name, double value, std::int64_t version) {
    check(penstock_report_error(c(), name.c_str(), value, version));
  }
  // The archive of a model, as it was stored. version: exactly this one; 0: the live one.
  std::string get_model(const std::string& name, std::int64_t version = 0) {
    std::string archive;
    check(penstock_get_model(c(), name.c_str(), version, place_text, &archive));
    return archive;
  }
  // Run a model: one round trip, and nothing is stored. version: exactly this one; 0: the live one.
  void infer(const std::string& name, std::initializer_list<Array> inputs,
             std::initializer_list<Output> outputs, std::int64_t version = 0) {
    const auto from = c_arrays(inputs), to = c_arrays(outputs);
    check(penstock_infer(c(), name.c_str(), version, from.data(), static_cast<int>(from.size()), to.data(),
                         static_cast<int>(to.size())));
  }
  // The same for a model with one output, whose shape need not be known.
  Tensor infer(const std::string& name, std::initializer_list<Array> inputs, std::int64_t version = 0) {
    const auto from = c_arrays(inputs);
    Tensor output;
    check(penstock_infer_to(c(), name.c_str(), version, from.data(), static_cast<int>(from.size()), 1,
                            place_one, &output));
    return output;
  }
  // The same by the live version, and which one that was.
  std::int64_t infer_versioned(const std::string& name, std::initializer_list<Array> inputs,
                               std::initializer_list<Output> outputs) {
    const auto from = c_arrays(inputs), to = c_arrays(outputs);
    std::int64_t version = 0;
    check(penstock_infer_versioned(c(), name.c_str(), from.data(), static_cast<int>(from.size()), to.data(),
                                   static_cast<int>(to.size()), &version));
    return version;
  }
  std::pair<Tensor, std::int64_t> infer_versioned(const std::string& name,
                                                  std::initializer_list<Array> inputs) {
    const auto from = c_arrays(inputs);
    std::pair<Tensor, std::int64_t> answer;
    check(penstock_infer_versioned_to(c(), name.c_str(), from.data(), static_cast<int>(from.size()), 1,
                                      place_one, &answer.first, &answer.second));
    return answer;
  }

  // ---- Waiting: each returns once the thing is there, or throws TimedOut

  void wait_tensor(const std::string& name, Seconds timeout) {
    check(penstock_wait_tensor(c(), name.c_str(), timeout.count()));
  }
  void wait_dataset(const std::string& name, Seconds timeout) {
    check(penstock_wait_dataset(c(), name.c_str(), timeout.count()));
  }
  void wait_flag(const std::string& name, Seconds timeout) {
    check(penstock_wait_flag(c(), name.c_str(), timeout.count()));
  }
  // Until a list, or a stream, has so many entries. Returns how many it has.
  std::int64_t wait_list(const std::string& name, std::int64_t length, Seconds timeout) {
    std::int64_t found = 0;
    check(penstock_wait_list(c(), name.c_str(), length, timeout.count(), &found));
    return found;
  }
  // Until a version greater than `after` is live; 0: any. Returns it.
  std::int64_t wait_model(const std::string& name, Seconds timeout, std::int64_t after = 0) {
    std::int64_t version = 0;
    check(penstock_wait_model(c(), name.c_str(), after, timeout.count(), &version));
    return version;
  }

  // ---- Asynchronous puts: the arrays are copied, and sent by a thread. See penstock.h for its rules

  void put_tensor_async(const std::string& name, const Array& array) {
    const auto it = array.c();
    check(penstock_put_tensor_async(c(), name.c_str(), &it));
  }
  void put_snapshot_async(std::int64_t step, std::initializer_list<Field> fields, double time = NAN,
                          const std::string& stream = kStream) {
    const auto list = c_fields(fields.begin(), fields.end());
    check(penstock_put_snapshot_async(c(), stream.c_str(), step, time, list.data(),
                                      static_cast<int>(list.size())));
  }
  // Wait until all of it is in the database.
  void flush(Seconds timeout) { check(penstock_flush(c(), timeout.count())); }
  // Send what is queued, and leave: nothing may be called afterwards. Throws where some of it did not arrive,
  // which the destructor cannot tell.
  void close() {
    const int status = penstock_close(client_.release());
    if (status) throw_error(status, nullptr);
  }
  void set_queue(std::size_t bytes) { check(penstock_set_queue(c(), bytes)); }

 private:
  static constexpr const char* kStream = "snapshots";
  struct Close {
    void operator()(penstock_client* client) const { (void)penstock_close(client); }
  };

  void check(int status) const {
    if (status) throw_error(status, c());
  }
  static Snapshot snapshot_of(const penstock_snapshot& about) {
    Snapshot found;
    found.producer = about.producer;
    found.rank = about.rank;
    found.step = about.step;
    found.time = about.time;
    for (int i = 0; i < about.count; i++)
      found.found[about.fields[i].name] = {about.fields[i].info, about_of(about.fields[i].about)};
    return found;
  }
  template <class Iterator>
  static std::vector<penstock_field> c_fields(Iterator from, Iterator to) {
    std::vector<penstock_field> list;
    for (; from != to; ++from) list.push_back({from->name.c_str(), from->array.c()});
    return list;
  }
  template <class Arrays>
  static std::vector<penstock_array> c_arrays(const Arrays& arrays) {
    std::vector<penstock_array> list;
    for (const auto& array : arrays) list.push_back(array.c());
    return list;
  }
  // Called from C: no exception may leave. NULL is an error of memory there.
  static void* place_one(void* tensor, const char*, const penstock_info* info) noexcept try {
    *static_cast<Tensor*>(tensor) = Tensor(*info);
    return static_cast<Tensor*>(tensor)->bytes();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  static void* place_text(void* text, const char*, const penstock_info* info) noexcept try {
    static_cast<std::string*>(text)->resize(info->nbytes);
    return static_cast<std::string*>(text)->data();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  static void* place_field(void* fields, const char* name, const penstock_info* info) noexcept try {
    auto& field = (*static_cast<std::map<std::string, Tensor>*>(fields))[name];
    field = Tensor(*info);
    return field.bytes();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }

  std::unique_ptr<penstock_client, Close> client_;
};

}  // namespace penstock

#endif  // PENSTOCK_HPP
