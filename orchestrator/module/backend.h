// What the core and a backend (torch, OpenVINO, onnxruntime) say to each other.
//
// DESIGN
//   A backend is a shared library that exports `penstock_backend()` and the marker string PENSTOCK_BUILT_FOR.
//   It may be compiled with another std::string ABI than the core (torch 2.6 wheels differ), so only plain
//   structs and pure virtual classes cross this border: no std:: type, no exception.
//   Threads: a Program is loaded by one thread and run by several at once; Run must be safe for that.
//   Ownership: views are borrowed for the length of the call; a Program is deleted by the core.
//   Ordering: a backend calls Sink methods only from within Load, Run, Inputs, Outputs and ToHost, on the
//   calling thread.
//   Residents: what a run puts out may stay where the backend made it (a GPU's memory, an array of torch's)
//   when the core asks for that, so that the next step of a DAG takes it without a copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

enum class DataType : uint8_t {
  kFloat,
  kDouble,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kBool,
  kString,
  kFloat16,
  kBfloat16,
  kUint32,
  kUint64,
  kComplex64,
  kComplex128
};

/// In the order of the numbers in the RDB file.
enum class BackendKind : uint8_t { kTensorflow, kTflite, kTorch, kOnnx };

namespace backend {

/// Raised whenever anything in this file changes.
inline constexpr int kInterfaceVersion = 8;

/// Text or bytes, not NUL-terminated.
struct Bytes {
  const char* data;
  size_t size;
};

class Sink;

/// An array that stays in a backend's own memory. Whoever was handed it deletes it.
class Resident {
 public:
  virtual ~Resident() = default;
  /// Emits it as one Tensor in host memory, or one Error.
  virtual void ToHost(Sink& out) const noexcept = 0;
};

/// Of the arrays that the core hands out, in bytes.
inline constexpr size_t kAlignment = 64;

/// A dense, row-major array. `data` is aligned to kAlignment when the core hands it out, and null when the
/// array is a resident, which goes only to a program of the backend that made it, on the same device.
struct TensorView {
  DataType type;
  const int64_t* dims;
  size_t rank;
  void* data;
  size_t size;  // in bytes
  const Resident* resident = nullptr;
};

/// Receives what a backend has to say; whatever is handed over is copied before the method returns.
class Sink {
 public:
  virtual void Tensor(const TensorView& tensor) = 0;
  /// Only when Call::keep is set: in place of Tensor. Ownership of `array` passes; `shape` has no data.
  virtual void Keep(const TensorView& shape, Resident* array) = 0;
  virtual void Name(Bytes name) = 0;
  virtual void Error(Bytes text) = 0;

 protected:
  ~Sink() = default;
};

/// Receives the reply of a Redis command, depth first: Array(n) is followed by its n entries.
class ReplySink {
 public:
  virtual void Nil() = 0;
  virtual void Integer(int64_t value) = 0;
  virtual void String(Bytes value) = 0;
  virtual void Array(size_t length) = 0;
  virtual void Error(Bytes text) = 0;

 protected:
  ~ReplySink() = default;
};

/// What a running script may ask of the server it runs in.
class Host {
 public:
  virtual void RunCommand(const Bytes* arguments, size_t count, ReplySink& reply) = 0;
  virtual void RunModel(Bytes key, const TensorView* inputs, size_t input_count, size_t output_count,
                        Sink& outputs) = 0;

 protected:
  ~Host() = default;
};

/// Tells a run from outside that it is to end early: its time is over, its client gone, the server leaving.
class Canceler {
 public:
  /// As cheap as reading one atomic. A run that sees true ends with an Error.
  virtual bool Canceled() const noexcept = 0;
  /// `stop(data)` is called once, by whichever thread cancels; at once when that has happened. Null: no more,
  /// and any call under way has ended.
  virtual void OnCancel(void (*stop)(void* data), void* data) noexcept = 0;

 protected:
  ~Canceler() = default;
};

/// One run: a model ignores `function`, `keys` and `texts`.
struct Call {
  Bytes function;
  const TensorView* inputs;
  size_t input_count;
  size_t output_count;
  const Bytes* keys;
  size_t key_count;
  const Bytes* texts;
  size_t text_count;
  Host* host;
  Canceler* canceler;    // null: nothing cancels this run
  bool keep;             // outputs may stay with the backend
  uint64_t memory_left;  // bytes that the server can spare for it; 0: as many as it wants
};

/// A loaded model or compiled script.
class Program {
 public:
  virtual ~Program() = default;
  /// Emits one Tensor (or Keep) per output, or one Error.
  virtual void Run(const Call& call, Sink& out) noexcept = 0;
  /// The same for the main thread, which must not wait: false, and nothing is done, where the run would have
  /// to wait until another run of this program has ended.
  virtual bool TryRun(const Call& call, Sink& out) noexcept {
    Run(call, out);
    return true;
  }
  /// Emits the name of each input, in order (models only).
  virtual void Inputs(Sink& out) const noexcept = 0;
  /// Emits the name of each output, in order; nothing where the format has no names for them.
  virtual void Outputs(Sink& out) const noexcept = 0;
  /// A run may change what it is given: it gets copies. Where it surely does not, stored tensors themselves.
  virtual bool WritesInputs() const noexcept { return true; }
  /// No loops or branches: what a run takes depends on the shapes of its inputs alone.
  virtual bool StraightLine() const noexcept = 0;
  /// Bytes that the program's own arrays take.
  virtual uint64_t MemoryBytes() const noexcept = 0;
};

/// A model file in pieces, as it came over the wire.
struct ModelSource {
  BackendKind kind;
  const Bytes* pieces;
  size_t piece_count;
  /// Null, or to be told of bytes that have been read: the file lies on disk, and they need no memory more.
  void (*has_read)(Bytes bytes);
  Bytes device;         // CPU, CPU:0, GPU, GPU:1 …
  const Bytes* inputs;  // names, for formats whose file does not say them (TensorFlow)
  size_t input_count;
  const Bytes* outputs;
  size_t output_count;
};

struct ScriptSource {
  Bytes text;
  Bytes device;
  const Bytes* entry_points;
  size_t entry_point_count;
};

/// The server's memory, which its maxmemory and INFO count. Any thread.
struct Memory {
  void* (*allocate)(size_t bytes);  // aligned to 64; null when there is not enough
  void (*release)(void* memory);    // null is fine
  size_t (*size)(const void* memory);
};

struct Settings {
  int intra_op_threads;   // 0: the default, one
  int inter_op_threads;   // 0: left alone
  int workers;            // how many runs of one model there are at once, at most
  uint64_t memory_limit;  // bytes that runs and models may take in this backend; 0: none
  bool freeze;            // optimize models when they are loaded, where the backend can
  bool native_models;     // allow models that are compiled code
  Memory memory;          // to be used where the library lets its allocator be chosen
};

class Backend {
 public:
  /// Null after one Error.
  virtual Program* LoadModel(const ModelSource& source, Sink& out) noexcept = 0;
  virtual Program* CompileScript(const ScriptSource& source, Sink& out) noexcept = 0;

 protected:
  ~Backend() = default;
};

/// What a backend library exports, as `extern "C" const Entry* penstock_backend()`.
struct Entry {
  int interface_version;
  const char* library_version;  // of the library it was compiled for, such as 2.13.0
  Backend* (*open)(const Settings& settings, Sink& out);
};

inline constexpr const char* kEntryName = "penstock_backend";
/// Followed by the version in the bytes of a backend file, so that it can be read before the file is opened.
#define PENSTOCK_BUILT_FOR "PENSTOCK_BUILT_FOR="

}  // namespace backend
}  // namespace penstock
