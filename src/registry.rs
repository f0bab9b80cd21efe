//! One question: which digest has this image?
