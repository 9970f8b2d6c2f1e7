//! The model's side of Perch: live answers, observations compared, models, features, store; and the reference rules backend.
