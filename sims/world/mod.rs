//! The simulated world: determinism first, then scenarios, then schedules by chance.

mod smoke;
