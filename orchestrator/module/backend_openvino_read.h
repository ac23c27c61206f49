// Model files that OpenVINO understands, made into its own form.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <vector>

#include "backend.h"

namespace penstock {

/// A model with the order in which the database gives its inputs and takes its outputs.
struct ReadModel {
  std::shared_ptr<ov::Model> model;
  std::vector<ov::Output<const ov::Node>> inputs;
  std::vector<ov::Output<const ov::Node>> outputs;
  std::vector<std::string> input_names;
  std::vector<std::string> output_names;
};

/// Throws the text for the client.
ReadModel ReadAnyModel(const backend::ModelSource& source);

/// Whether what a run of it takes depends on the shapes of its inputs alone.
bool IsStraightLine(const ov::Model& model);

}  // namespace penstock
