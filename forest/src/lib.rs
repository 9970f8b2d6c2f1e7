//! Tree ensembles at cache speed, as the operator that tract runs for ONNX's TreeEnsembleClassifier.
