// Values from an RDB file or a RESTORE: any bytes are read or refused, and what was read is written so that
// it reads the same again.
//
// DESIGN
//   The input's first byte says which type and version. Then, for each number that the reader asks for, one
//   byte below 0xF0, or any other and eight more; for each string its length as such a number, and its bytes.
#include <cstring>

#include "input_words.h"
#include "rdb_format.h"

namespace penstock::fuzz {
namespace {

class BytesInput final : public RdbInput {
 public:
  explicit BytesInput(std::string_view bytes) : rest_(bytes) {}
  bool ok() const override { return ok_; }
  uint64_t Unsigned() override {
    auto first = static_cast<uint8_t>(Take(1).c_str()[0]);
    if (first < 0xF0) return first;
    uint64_t value = 0;
    std::memcpy(&value, Take(sizeof(value)).data(), sizeof(value));
    return ok_ ? value : 0;
  }
  int64_t Signed() override { return static_cast<int64_t>(Unsigned()); }
  BufferPtr Bytes() override {
    uint64_t size = Unsigned();
    ok_ = ok_ && size <= rest_.size();
    if (!ok_) return nullptr;
    return CopyBytes(Take(size));
  }

 private:
  std::string Take(size_t count) {
    ok_ = ok_ && count <= rest_.size();
    if (!ok_) return std::string(count, '\0');
    std::string taken(rest_.substr(0, count));
    rest_.remove_prefix(count);
    return taken;
  }
  std::string_view rest_;
  bool ok_ = true;
};

class BytesOutput final : public RdbOutput {
 public:
  void Unsigned(uint64_t value) override {
    written.push_back('\xF0');
    written.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Signed(int64_t value) override { Unsigned(static_cast<uint64_t>(value)); }
  void Bytes(std::string_view bytes) override {
    Unsigned(bytes.size());
    written.append(bytes);
  }
  std::string written;
};

void Write(BytesOutput* output, const TensorPtr& tensor) { WriteTensor(output, *tensor); }
void Write(BytesOutput* output, const ModelDefinition& model) { WriteModel(output, model, model.inputs, 7); }
void Write(BytesOutput* output, const ScriptDefinition& script) { WriteScript(output, script); }

template <class Read>
void Check(Read read, std::string_view bytes, int version) {
  BytesInput input(bytes);
  auto value = read(&input, version);
  if (!value.ok()) return Require(!value.status().text().empty(), "an error says what is wrong");
  BytesOutput first;
  Write(&first, *value);
  BytesInput again(first.written);
  auto same = read(&again, kRdbVersion);
  Require(same.ok(), "what was written is read");
  BytesOutput second;
  Write(&second, *same);
  Require(first.written == second.written, "what was read again is the same");
}

}  // namespace
}  // namespace penstock::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock;
  if (size == 0) return 0;
  int version = data[0] / 3 % 6;
  std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 3 == 0) fuzz::Check(ReadTensor, bytes, version);
  if (data[0] % 3 == 1) fuzz::Check(ReadModel, bytes, version);
  if (data[0] % 3 == 2) fuzz::Check(ReadScript, bytes, version);
  return 0;
}
