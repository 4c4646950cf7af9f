//! Log writers, encoders and redaction.
