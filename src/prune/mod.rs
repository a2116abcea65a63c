//! Makes models smaller: which channels go together, which matter least, what goes, and proof that what is left computes
//! what it should.

mod allocate;
mod certify;
mod coupling;
mod importance;
mod surgery;
