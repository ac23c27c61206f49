// What the core and a backend (torch, later OpenVINO) say to each other.
//
// DESIGN
//   A backend is a shared library that exports `penstock_backend()` and the marker string PENSTOCK_BUILT_FOR.
//   It may be compiled with another std::string ABI than the core (torch 2.6 wheels differ), so only plain
//   structs and pure virtual classes cross this border: no std:: type, no exception.
//   Threads: a Program is loaded by one thread and run by several at once; Run must be safe for that.
//   Ownership: views are borrowed for the length of the call; a Program is deleted by the core.
//   Ordering: the core calls Sink methods only from within Load, Describe and Run, on the calling thread.
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
  kString
};

namespace backend {

/// Raised whenever anything in this file changes.
inline constexpr int kInterfaceVersion = 1;

/// Text or bytes, not NUL-terminated.
struct Bytes {
  const char* data;
  size_t size;
};

/// A dense, row-major array. `data` is aligned to 64 bytes when the core hands it out.
struct TensorView {
  DataType type;
  const int64_t* dims;
  size_t rank;
  void* data;
  size_t size;  // in bytes
};

/// Receives what a backend has to say; whatever is handed over is copied before the method returns.
class Sink {
 public:
  virtual void Tensor(const TensorView& tensor) = 0;
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
};

/// A loaded model or compiled script.
class Program {
 public:
  virtual ~Program() = default;
  /// Emits one Tensor per output, or one Error.
  virtual void Run(const Call& call, Sink& out) noexcept = 0;
  /// Emits the name of each input, in order (models only).
  virtual void Inputs(Sink& out) const noexcept = 0;
  /// Bytes that the program's own arrays take.
  virtual uint64_t MemoryBytes() const noexcept = 0;
};

/// A model file in pieces, as it came over the wire.
struct ModelSource {
  const Bytes* pieces;
  size_t piece_count;
  Bytes device;  // CPU, CPU:0, GPU, GPU:1 …
};

struct ScriptSource {
  Bytes text;
  Bytes device;
  const Bytes* entry_points;
  size_t entry_point_count;
};

struct Threads {
  int intra_op;  // 0: the default, one
  int inter_op;  // 0: left alone
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
  Backend* (*open)(const Threads& threads, Sink& out);
};

inline constexpr const char* kEntryName = "penstock_backend";
/// Followed by the version in the bytes of a backend file, so that it can be read before the file is opened.
#define PENSTOCK_BUILT_FOR "PENSTOCK_BUILT_FOR="

}  // namespace backend
}  // namespace penstock
