#include "onnx_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>

namespace penstock {
namespace {

constexpr int kDeepest = 64;  // graphs within graphs, more than any compiler makes

enum Wire : uint64_t { kVarint = 0, kEight = 1, kBytes = 2, kFour = 5 };

struct Field {
  uint64_t number = 0;
  uint64_t wire = 0;
  uint64_t value = 0;      // kVarint
  std::string_view bytes;  // kBytes
};

// Walks the fields of one message.
class Message {
 public:
  explicit Message(std::string_view bytes) : left_(bytes) {}
  /// False at the end, and where the bytes are no message; then broken() holds.
  bool Next(Field* field) {
    if (left_.empty()) return false;
    uint64_t tag = 0;
    if (!Varint(&tag)) return Break();
    field->number = tag >> 3;
    field->wire = tag & 7;
    if (field->number == 0 || tag > std::numeric_limits<uint32_t>::max()) return Break();
    if (field->wire == kVarint) return Varint(&field->value) || Break();
    uint64_t size = field->wire == kEight ? 8 : 4;
    if (field->wire == kBytes && !Varint(&size)) return Break();
    bool known = field->wire == kBytes || field->wire == kEight || field->wire == kFour;
    if (!known || size > left_.size()) return Break();
    field->bytes = left_.substr(0, size);
    left_.remove_prefix(size);
    return true;
  }
  bool broken() const { return broken_; }

 private:
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      auto byte = static_cast<uint8_t>(left_.front());
      left_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }
  bool Break() {
    broken_ = true;
    return false;
  }

  std::string_view left_;
  bool broken_ = false;
};

// Loops and choices, and what makes an array as large as a value says.
constexpr std::string_view kCrooked[] = {
    "Loop", "If",     "Scan",        "SequenceMap",      "Range",    "ConstantOfShape",
    "Tile", "Expand", "OneHot",      "Resize",           "Upsample", "NonZero",
    "Pad",  "Unique", "StringSplit", "NonMaxSuppression"};

// The messages of ONNX, and in them the numbers of the fields that lead to tensors.
class OnnxReader {
 public:
  explicit OnnxReader(OnnxFacts* facts) : facts_(facts) {}

  /// False where any of its messages is none.
  bool Model(std::string_view bytes) {
    Each(bytes, [this](const Field& field) {
      if (field.number == 7) {
        facts_->has_graph = true;
        Graph(field.bytes, 0);
      }
      if (field.number == 20) Training(field.bytes);
      if (field.number == 25) Function(field.bytes);
    });
    return !broken_;
  }

 private:
  // Calls `see` with each field that is itself bytes.
  template <class See>
  void Each(std::string_view bytes, See see) {
    Message message(bytes);
    Field field;
    while (message.Next(&field)) {
      if (field.wire == kBytes) see(field);
    }
    broken_ = broken_ || message.broken();
  }

  void Graph(std::string_view bytes, int depth) {
    if (depth > kDeepest) {
      facts_->straight_line = false;
      facts_->external_data = true;  // unread is not allowed
      return;
    }
    Each(bytes, [this, depth](const Field& field) {
      if (field.number == 1) Node(field.bytes, depth);
      if (field.number == 5) Tensor(field.bytes);
      if (field.number == 15) SparseTensor(field.bytes);
    });
  }
  void Node(std::string_view bytes, int depth) {
    Each(bytes, [this, depth](const Field& field) {
      if (field.number == 4 &&
          std::find(std::begin(kCrooked), std::end(kCrooked), field.bytes) != std::end(kCrooked)) {
        facts_->straight_line = false;
      }
      if (field.number == 5) Attribute(field.bytes, depth);
    });
  }
  void Attribute(std::string_view bytes, int depth) {
    Each(bytes, [this, depth](const Field& field) {
      if (field.number == 5 || field.number == 10) Tensor(field.bytes);
      if (field.number == 6 || field.number == 11) Graph(field.bytes, depth + 1);
      if (field.number == 22 || field.number == 23) SparseTensor(field.bytes);
    });
  }
  void SparseTensor(std::string_view bytes) {
    Each(bytes, [this](const Field& field) {
      if (field.number == 1 || field.number == 2) Tensor(field.bytes);
    });
  }
  // Either of what says so: the list of where the data is, and that it is elsewhere.
  void Tensor(std::string_view bytes) {
    Message message(bytes);
    Field field;
    while (message.Next(&field)) {
      if (field.number == 13 || (field.number == 14 && field.value != 0)) facts_->external_data = true;
    }
    broken_ = broken_ || message.broken();
  }
  void Training(std::string_view bytes) {
    Each(bytes, [this](const Field& field) {
      if (field.number == 1 || field.number == 2) Graph(field.bytes, 0);
    });
  }
  void Function(std::string_view bytes) {
    Each(bytes, [this](const Field& field) {
      if (field.number == 7) Node(field.bytes, 0);
      if (field.number == 11) Attribute(field.bytes, 0);
    });
  }

  OnnxFacts* facts_;
  bool broken_ = false;  // somewhere; the library may read on where we stopped
};

}  // namespace

OnnxFacts ReadOnnxFacts(std::string_view file) {
  OnnxFacts facts;
  if (!OnnxReader(&facts).Model(file)) facts.has_graph = false;
  return facts;
}

TensorflowFile ReadTensorflowKind(std::string_view file) {
  if (file.starts_with("PK\x03\x04") || file.starts_with("\x89HDF") || file.starts_with("\x1f\x8b"))
    return TensorflowFile::kArchive;
  Message message(file);
  Field field;
  bool version = false;
  bool graphs = false;
  bool nodes = false;
  bool others = false;  // an ONNX file begins the same way
  while (message.Next(&field)) {
    version = version || (field.number == 1 && field.wire == kVarint);
    nodes = nodes || (field.number == 1 && field.wire == kBytes);
    graphs = graphs || (field.number == 2 && field.wire == kBytes);
    others = others || field.number > 2;
  }
  if (message.broken()) return TensorflowFile::kOther;
  if (version && graphs && !others) return TensorflowFile::kSavedModel;
  return nodes ? TensorflowFile::kGraphDef : TensorflowFile::kOther;
}

bool IsTflite(std::string_view file) { return file.size() >= 8 && file.substr(4, 4) == "TFL3"; }

}  // namespace penstock
