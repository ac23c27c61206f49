// The part of onnxruntime's C interface that is used, in our own words.
//
// DESIGN
//   The wheel brings the library without its header. The library exports one function, OrtGetApiBase, which
//   leads to a table of pointers to functions. New functions are only ever added to the table's end, so a
//   function is known by its place for good. Each returns null, or a status that says what went wrong and
//   must be released. Handles are opaque.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace penstock::ort {

struct Status;
struct Environment;
struct Session;
struct SessionOptions;
struct RunOptions;
struct Value;
struct TypeInfo;
struct TensorInfo;
struct MemoryInfo;

/// What onnxruntime asks for memory. Version 11 of it has these three functions.
struct Allocator {
  uint32_t version;
  void* (*allocate)(Allocator* self, size_t bytes);
  void (*release)(Allocator* self, void* memory);
  const MemoryInfo* (*info)(const Allocator* self);
};

/// The numbers of ONNX' own types.
enum ElementType : int {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBfloat16 = 16
};

/// One function of the table.
template <int kPlace, class Function>
struct Entry;
template <int kPlace, class Result, class... Arguments>
struct Entry<kPlace, Result(Arguments...)> {
  Result operator()(Arguments... arguments) const {
    return reinterpret_cast<Result (*)(Arguments...)>(table[kPlace])(arguments...);
  }
  void* const* const& table;
};

class Api {
 private:
  void* const* table_ = nullptr;

 public:
  /// False when `base` (what OrtGetApiBase gave) has no table as new as this needs.
  bool Bind(const void* base);
  const char* version() const { return version_.c_str(); }

  Entry<2, const char*(const Status*)> error_message{table_};
  Entry<3, Status*(int log_level, const char* name, Environment**)> create_environment{table_};
  Entry<8, Status*(const Environment*, const void* file, size_t, const SessionOptions*, Session**)>
      create_session{table_};
  Entry<9, Status*(Session*, const RunOptions*, const char* const* input_names, const Value* const* inputs,
                   size_t, const char* const* output_names, size_t, Value** outputs)>
      run{table_};
  Entry<10, Status*(SessionOptions**)> create_session_options{table_};
  Entry<17, Status*(SessionOptions*)> disable_memory_pattern{table_};
  Entry<19, Status*(SessionOptions*)> disable_cpu_arena{table_};
  Entry<24, Status*(SessionOptions*, int)> set_intra_op_threads{table_};
  Entry<25, Status*(SessionOptions*, int)> set_inter_op_threads{table_};
  Entry<30, Status*(const Session*, size_t*)> input_count{table_};
  Entry<31, Status*(const Session*, size_t*)> output_count{table_};
  Entry<33, Status*(const Session*, size_t, TypeInfo**)> input_type{table_};
  Entry<36, Status*(const Session*, size_t, Allocator*, char**)> input_name{table_};
  Entry<37, Status*(const Session*, size_t, Allocator*, char**)> output_name{table_};
  Entry<39, Status*(RunOptions**)> create_run_options{table_};
  Entry<46, Status*(RunOptions*)> set_terminate{table_};
  Entry<49, Status*(const MemoryInfo*, void* data, size_t bytes, const int64_t* dims, size_t rank, int type,
                    Value**)>
      create_tensor_over{table_};
  Entry<50, Status*(const Value*, int*)> is_tensor{table_};
  Entry<51, Status*(Value*, void**)> tensor_data{table_};
  Entry<55, Status*(const TypeInfo*, const TensorInfo**)> tensor_info_of_type{table_};
  Entry<60, Status*(const TensorInfo*, int*)> element_type{table_};
  Entry<61, Status*(const TensorInfo*, size_t*)> rank{table_};
  Entry<62, Status*(const TensorInfo*, int64_t*, size_t)> dimensions{table_};
  Entry<65, Status*(const Value*, TensorInfo**)> tensor_info_of_value{table_};
  Entry<69, Status*(int allocator_type, int memory_type, MemoryInfo**)> create_cpu_memory_info{table_};
  Entry<93, void(Status*)> release_status{table_};
  Entry<95, void(Session*)> release_session{table_};
  Entry<96, void(Value*)> release_value{table_};
  Entry<97, void(RunOptions*)> release_run_options{table_};
  Entry<98, void(TypeInfo*)> release_type_info{table_};
  Entry<99, void(TensorInfo*)> release_tensor_info{table_};
  Entry<100, void(SessionOptions*)> release_session_options{table_};
  Entry<130, Status*(SessionOptions*, const char* name, const char* value)> set_session_option{table_};
  Entry<176, Status*(Environment*, Allocator*)> register_allocator{table_};

 private:
  std::string version_;
};

}  // namespace penstock::ort
