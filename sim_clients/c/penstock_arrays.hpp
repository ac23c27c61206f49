// What penstock.hpp's client is given and gives back: errors, arrays, snapshots. Programs include
// penstock.hpp.

#ifndef PENSTOCK_ARRAYS_HPP
#define PENSTOCK_ARRAYS_HPP

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if __has_include(<mdspan>)
#include <mdspan>
#endif

#include "penstock.h"

namespace penstock {

// ---- Errors

// Base of all. The classes below are those that a program may want to tell apart; others come as an Error.
class Error : public std::runtime_error {
 public:
  Error(penstock_status code, const std::string& text, std::string subject = "")
      : std::runtime_error(text), code_(code), subject_(std::move(subject)) {}
  penstock_status code() const { return code_; }
  const std::string& subject() const { return subject_; }  // the name it is about, "" where there is none

 private:
  penstock_status code_;
  std::string subject_;
};

class DatabaseUnavailable : public Error {
  using Error::Error;
};
class DatabaseFull : public Error {
  using Error::Error;
};
class TensorError : public Error {
  using Error::Error;
};
class SnapshotError : public Error {
  using Error::Error;
};
class IncompleteSnapshot : public SnapshotError {
  using SnapshotError::SnapshotError;
};
class SnapshotDropped : public SnapshotError {
  using SnapshotError::SnapshotError;
};
class StreamFull : public Error {
  using Error::Error;
};
class KeyMissing : public Error {
  using Error::Error;
};
class ModelMissing : public Error {
  using Error::Error;
};
class ModelRejected : public Error {
  using Error::Error;
};
class InferenceFailed : public Error {
  using Error::Error;
};
class TimedOut : public Error {
  using Error::Error;
};

// Throw what the last call with a client has met. NULL: the last attempt to connect.
[[noreturn]] inline void throw_error(int status, const penstock_client* client) {
  const auto code = static_cast<penstock_status>(status);
  const std::string text = penstock_error(client), subject = penstock_error_subject(client);
  switch (code) {
    case PENSTOCK_UNAVAILABLE:
      throw DatabaseUnavailable(code, text, subject);
    case PENSTOCK_FULL:
      throw DatabaseFull(code, text, subject);
    case PENSTOCK_TENSOR:
      throw TensorError(code, text, subject);
    case PENSTOCK_SNAPSHOT:
      throw SnapshotError(code, text, subject);
    case PENSTOCK_INCOMPLETE:
      throw IncompleteSnapshot(code, text, subject);
    case PENSTOCK_DROPPED:
      throw SnapshotDropped(code, text, subject);
    case PENSTOCK_STREAM_FULL:
      throw StreamFull(code, text, subject);
    case PENSTOCK_KEY_MISSING:
      throw KeyMissing(code, text, subject);
    case PENSTOCK_MODEL_MISSING:
      throw ModelMissing(code, text, subject);
    case PENSTOCK_MODEL_REJECTED:
      throw ModelRejected(code, text, subject);
    case PENSTOCK_INFERENCE:
      throw InferenceFailed(code, text, subject);
    case PENSTOCK_TIMED_OUT:
      throw TimedOut(code, text, subject);
    case PENSTOCK_MEMORY:
      throw std::bad_alloc();
    default:
      throw Error(code, text, subject);
  }
}

// ---- Arrays

template <class T>
inline constexpr bool is_character = std::is_same_v<T, char> || std::is_same_v<T, wchar_t> ||
                                     std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;

// The dtype of a C++ type. One that the database does not have is an error of compilation.
template <class Element>
constexpr penstock_dtype dtype_of() {
  using T = std::remove_cv_t<Element>;
  constexpr bool integer = std::is_integral_v<T> && !is_character<T> && !std::is_same_v<T, bool>;
  if constexpr (std::is_same_v<T, double>)
    return PENSTOCK_FLOAT64;
  else if constexpr (std::is_same_v<T, float>)
    return PENSTOCK_FLOAT32;
  else if constexpr (std::is_same_v<T, std::complex<double>>)
    return PENSTOCK_COMPLEX128;
  else if constexpr (std::is_same_v<T, std::complex<float>>)
    return PENSTOCK_COMPLEX64;
  else if constexpr (std::is_same_v<T, bool>)
    return PENSTOCK_BOOL;
  else if constexpr (integer && std::is_signed_v<T>)
    return sizeof(T) == 8   ? PENSTOCK_INT64
           : sizeof(T) == 4 ? PENSTOCK_INT32
           : sizeof(T) == 2 ? PENSTOCK_INT16
                            : PENSTOCK_INT8;
  else if constexpr (integer)
    return sizeof(T) == 8   ? PENSTOCK_UINT64
           : sizeof(T) == 4 ? PENSTOCK_UINT32
           : sizeof(T) == 2 ? PENSTOCK_UINT16
                            : PENSTOCK_UINT8;
  else
    static_assert(!sizeof(T), "this type has no dtype in the database");
}

// Dimensions or strides: {nx, ny}, of any integers.
struct Dims : std::vector<std::int64_t> {
  Dims() = default;
  Dims(std::vector<std::int64_t> values) : vector(std::move(values)) {}
  template <class... Integers,
            class = std::enable_if_t<(sizeof...(Integers) > 0) && (std::is_integral_v<Integers> && ...)>>
  Dims(Integers... values) : vector{static_cast<std::int64_t>(values)...} {}
};

// An array that is sent. Dimensions are in the order that every reader sees, the first varies slowest in the
// database. Strides count elements and may be negative; without any the array is row-major without gaps.
class Array {
 public:
  template <class T>
  Array(T* data, Dims dims, Dims strides = {})
      : data_(const_cast<std::remove_cv_t<T>*>(data)),
        dtype_(dtype_of<T>()),
        dims_(std::move(dims)),
        strides_(std::move(strides)) {
    if (!strides_.empty() && strides_.size() != dims_.size())
      throw TensorError(PENSTOCK_TENSOR, std::to_string(dims_.size()) + " dimensions with " +
                                             std::to_string(strides_.size()) + " strides");
    for (auto& stride : strides_) stride *= static_cast<std::int64_t>(sizeof(T));
  }
  // Of one dimension: std::vector, std::array, std::span, a C array.
  template <class Container, class = decltype(std::data(std::declval<const Container&>()))>
  Array(const Container& values) : Array(std::data(values), {static_cast<std::int64_t>(std::size(values))}) {}
#ifdef __cpp_lib_mdspan
  template <class T, class Extents, class Layout>
  Array(const std::mdspan<T, Extents, Layout>& view)
      : Array(view.data_handle(), dims_of(view), strides_of(view)) {}
#endif

  penstock_array c() const {
    return {data_, dtype_, static_cast<int>(dims_.size()), dims_.data(),
            strides_.empty() ? nullptr : strides_.data()};
  }

 private:
#ifdef __cpp_lib_mdspan
  template <class View>
  static Dims dims_of(const View& view) {
    Dims dims;
    for (std::size_t i = 0; i < View::rank(); i++) dims.push_back(static_cast<std::int64_t>(view.extent(i)));
    return dims;
  }
  template <class View>
  static Dims strides_of(const View& view) {
    Dims strides;
    for (std::size_t i = 0; i < View::rank(); i++)
      strides.push_back(static_cast<std::int64_t>(view.stride(i)));
    return strides;
  }
#endif

  void* data_;
  penstock_dtype dtype_;
  Dims dims_, strides_;
};

// An array that is filled: the same, of elements that are not const.
class Output : public Array {
 public:
  template <class T>
  Output(T* data, Dims dims, Dims strides = {}) : Array(data, std::move(dims), std::move(strides)) {
    static_assert(!std::is_const_v<T>, "an array that is filled cannot be const");
  }
  template <class Container, class T = std::remove_pointer_t<decltype(std::data(std::declval<Container&>()))>>
  Output(Container& values) : Output(std::data(values), {static_cast<std::int64_t>(std::size(values))}) {}
#ifdef __cpp_lib_mdspan
  template <class T, class Extents, class Layout>
  Output(const std::mdspan<T, Extents, Layout>& view) : Array(view) {
    static_assert(!std::is_const_v<T>, "an array that is filled cannot be const");
  }
#endif
};

// The elements of a Tensor, row-major.
template <class T>
struct View {
  T* values;
  std::size_t count;
  T* data() const { return values; }
  std::size_t size() const { return count; }
  T* begin() const { return values; }
  T* end() const { return values + count; }
  T& operator[](std::size_t i) const { return values[i]; }
};

// An array that came from the database, with memory of its own.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(const penstock_info& info)
      : dtype_(info.dtype),
        dims_(std::vector<std::int64_t>(info.dims, info.dims + info.rank)),
        nbytes_(info.nbytes),
        bytes_(new std::byte[info.nbytes]) {}
  penstock_dtype dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  std::size_t nbytes() const { return nbytes_; }
  std::byte* bytes() const { return bytes_.get(); }

  // The elements, which are of this type and no other.
  template <class T>
  View<T> as() const {
    if (dtype_of<T>() != dtype_)
      throw TensorError(PENSTOCK_TENSOR, std::string("the tensor is ") +
                                             (bytes_ ? penstock_dtype_name(dtype_) : "empty") + ", not " +
                                             penstock_dtype_name(dtype_of<T>()));
    return {reinterpret_cast<T*>(bytes_.get()), nbytes_ / sizeof(T)};
  }

 private:
  penstock_dtype dtype_{};
  Dims dims_;
  std::size_t nbytes_ = 0;
  std::unique_ptr<std::byte[]> bytes_;
};

// Arrays in shared memory, or in ordinary memory where there is none: see penstock.h. T of a mapping is
// const. What it gave is gone with it; it may outlive its client.
template <class T>
class Shared {
 public:
  explicit Shared(penstock_view* view) : view_(view) {}
  std::size_t size() const { return count(penstock_view_array(view_.get(), 0)); }
  T* data() const { return static_cast<T*>(penstock_view_array(view_.get(), 0).data); }
  T* begin() const { return data(); }
  T* end() const { return data() + size(); }
  T& operator[](std::size_t i) const { return data()[i]; }
  Dims dims() const {
    const auto it = penstock_view_array(view_.get(), 0);
    return std::vector<std::int64_t>(it.dims, it.dims + it.rank);
  }
  // To put it, whole: it is not copied, and must not be written afterwards.
  Array array() const { return Array(data(), dims()); }
  bool is_shared() const { return penstock_view_is_shared(view_.get(), 0) != 0; }

 private:
  static std::size_t count(const penstock_array& it) {
    std::size_t elements = 1;
    for (int i = 0; i < it.rank; i++) elements *= static_cast<std::size_t>(it.dims[i]);
    return elements;
  }
  struct End {
    void operator()(penstock_view* view) const { penstock_unmap(view); }
  };
  std::unique_ptr<penstock_view, End> view_;
};

// An array with its name, of a snapshot.
struct Field {
  Field(std::string name, Array array) : name(std::move(name)), array(std::move(array)) {}
  std::string name;
  Array array;
};

// An array of the caller's that a field of a snapshot is received into.
struct Destination {
  Destination(std::string name, Output array) : name(std::move(name)), array(std::move(array)) {}
  std::string name;
  Output array;
};

// What is known of a field beside its numbers; empty: nothing. See penstock_about.
struct About {
  std::string units;
  std::vector<std::string> dims;  // names
  Dims shape, offset;             // of the global array; where this rank's block begins in it
};

inline About about_of(const penstock_about& from) {
  About about;
  const auto rank = static_cast<std::size_t>(from.rank);
  if (from.units) about.units = from.units;
  if (from.dims) about.dims.assign(from.dims, from.dims + rank);
  if (from.shape) about.shape.assign(from.shape, from.shape + rank);
  if (from.offset) about.offset.assign(from.offset, from.offset + rank);
  return about;
}

// A field of a snapshot in the database: dtype, shape, and what is known of it.
struct Found {
  penstock_info info;
  About about;
};

// What a producer has announced.
struct Snapshot {
  std::string producer;
  std::int64_t rank = 0, step = 0;
  double time = NAN;  // s, NAN where the solver gave none
  std::map<std::string, Tensor> fields;
  std::map<std::string, Found> found;  // all fields of the snapshot
};

}  // namespace penstock

#endif  // PENSTOCK_ARRAYS_HPP
