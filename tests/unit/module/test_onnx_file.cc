#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "check.h"
#include "onnx_file.h"

using namespace penstock;

namespace {

std::string Read(const std::string& name) {
  std::ifstream file(std::string(MODEL_FILES) + "/" + name, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  CHECK(!bytes.empty());
  return bytes;
}

std::string Varint(size_t value) {
  std::string text;
  for (; value > 127; value >>= 7) text += static_cast<char>((value & 127) | 128);
  return text + static_cast<char>(value);
}

// One field of a message: its number, and the bytes it holds.
std::string Field(size_t number, const std::string& bytes) {
  return Varint(number << 3 | 2) + Varint(bytes.size()) + bytes;
}

void WhatAModelSaysIsRead() {
  OnnxFacts shift = ReadOnnxFacts(Read("shift.onnx"));
  CHECK(shift.has_graph && shift.straight_line && !shift.external_data);
  CHECK(!ReadOnnxFacts(Read("loop.onnx")).straight_line);
  CHECK(!ReadOnnxFacts(Read("zeros.onnx")).straight_line);
}

void WeightsElsewhereAreFoundWhereverTheyAre() {
  CHECK(ReadOnnxFacts(Read("external.onnx")).external_data);
  CHECK(ReadOnnxFacts(Read("external_in_branch.onnx")).external_data);
  std::string tensor = Field(13, "location");
  for (const std::string& graph :
       {Field(5, tensor), Field(15, Field(1, tensor)), Field(1, Field(5, Field(10, tensor))),
        Field(1, Field(5, Field(11, Field(5, tensor))))})
    CHECK(ReadOnnxFacts(Field(7, graph)).external_data);
  CHECK(ReadOnnxFacts(Field(25, Field(7, Field(5, Field(5, tensor))))).external_data);
}

// A library may skip there what it does not know, such as a group, and find the weights behind it.
void WhereReadingStopsTheFileIsNone() {
  std::string group = "\x0b\x0c";
  std::string number = "\xfd\xff\xff\xff\x7f";  // of a field, longer than it can be
  std::string tensor = Field(13, "location");
  for (const std::string& stop : {group, number}) {
    for (const std::string& graph : {stop + Field(5, tensor), Field(5, stop + tensor), Field(1, stop),
                                     Field(1, Field(5, stop + Field(5, tensor))), Field(15, stop + tensor)})
      CHECK(!ReadOnnxFacts(Field(7, graph)).has_graph);
    CHECK(!ReadOnnxFacts(Field(7, "") + Field(25, Field(7, stop))).has_graph);
    CHECK(!ReadOnnxFacts(Field(7, "") + Field(20, stop)).has_graph);
  }
}

void GraphsWithinGraphsEnd() {
  std::string graph;
  for (int i = 0; i < 2000; ++i) graph = Field(1, Field(5, Field(6, graph)));
  OnnxFacts facts = ReadOnnxFacts(Field(7, graph));
  CHECK(facts.has_graph && facts.external_data);
}

void OtherFilesAreNone() {
  for (const std::string& bytes :
       {std::string(), std::string("text"), Read("frozen.pb"), Read("affine.tflite")})
    CHECK(!ReadOnnxFacts(bytes).has_graph);
  std::string cut = Read("shift.onnx");
  for (size_t size = 0; size + 20 < cut.size(); ++size) CHECK(!ReadOnnxFacts(cut.substr(0, size)).has_graph);
}

void TensorflowFilesAreToldApart() {
  CHECK(ReadTensorflowKind(Read("frozen.pb")) == TensorflowFile::kGraphDef);
  CHECK(ReadTensorflowKind(Read("saved_model.pb")) == TensorflowFile::kSavedModel);
  CHECK(ReadTensorflowKind("PK\x03\x04....") == TensorflowFile::kArchive);
  CHECK(ReadTensorflowKind(Read("shift.onnx")) == TensorflowFile::kOther);
  CHECK(ReadTensorflowKind("") == TensorflowFile::kOther);
  CHECK(IsTflite(Read("affine.tflite")) && !IsTflite("TFL3") && !IsTflite(""));
}

// Nothing to check but that it ends well: under ASan and UBSan this is the test.
void ChangedBytesDoNoHarm() {
  std::minstd_rand random(1);
  size_t graphs = 0;
  for (const char* name : {"loop.onnx", "external_in_branch.onnx", "frozen.pb", "saved_model.pb"}) {
    const std::string whole = Read(name);
    for (int i = 0; i < 20000; ++i) {
      std::string bytes = whole.substr(0, random() % 4 == 0 ? random() % whole.size() : whole.size());
      for (int k = 0; k < 3 && !bytes.empty(); ++k)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      graphs += ReadOnnxFacts(bytes).has_graph ? 1 : 0;
      graphs += ReadTensorflowKind(bytes) == TensorflowFile::kGraphDef ? 1 : 0;
    }
  }
  CHECK(graphs > 0);
}

}  // namespace

int main() {
  WhatAModelSaysIsRead();
  WeightsElsewhereAreFoundWhereverTheyAre();
  WhereReadingStopsTheFileIsNone();
  GraphsWithinGraphsEnd();
  OtherFilesAreNone();
  TensorflowFilesAreToldApart();
  ChangedBytesDoNoHarm();
  return penstock::test::Report();
}
