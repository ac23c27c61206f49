#include "tensor_words.h"

namespace penstock {
namespace {

Status TakeDims(Arguments* words, std::vector<int64_t>* dims) {
  while (!words->done() && !EqualsAnyCase(words->Peek(), "BLOB") && !EqualsAnyCase(words->Peek(), "VALUES")) {
    auto dim = words->NextInteger();
    if (!dim || *dim < 0) return Status::Error("invalid or negative value found in tensor shape");
    dims->push_back(*dim);
  }
  return Status::Ok();
}

}  // namespace

Result<TensorSetWords> ParseTensorSet(Arguments words) {
  TensorSetWords tensor;
  words.Next();  // the key
  auto type = ParseDataType(words.Next());
  if (!type) return Status::Error("invalid data type");
  tensor.type = *type;
  Status status = TakeDims(&words, &tensor.dims);
  if (!status.ok()) return status;
  if (words.Take("BLOB")) {
    if (words.left() != 1) {
      return Status::Error(
          "a single binary string should come after the BLOB argument in 'AI.TENSORSET' command");
    }
    tensor.blob = words.position();
  } else if (words.Take("VALUES")) {
    tensor.values = true;
    tensor.elements = words.NextPositions(words.left());
  }
  return tensor;
}

// Nothing asked for means META BLOB.
Result<TensorForm> ParseTensorGet(Arguments words) {
  TensorForm wanted;
  words.Next();  // the key
  while (!words.done()) {
    if (words.Take("META")) {
      wanted.meta = true;
    } else if (words.Take("BLOB")) {
      wanted.blob = true;
    } else if (words.Take("VALUES")) {
      wanted.values = true;
    } else {
      return Status::Error("unsupported data format");
    }
  }
  if (wanted.blob && wanted.values) return Status::Error("both BLOB and VALUES specified");
  if (!wanted.meta && !wanted.blob && !wanted.values) wanted.meta = wanted.blob = true;
  return wanted;
}

}  // namespace penstock
