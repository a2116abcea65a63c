//! Workers: jobs from the claim to the published result, and what becomes of them when something is killed. A shell
//! script stands in for the program of attempts: it speaks their protocol, and does what the test needs done.

mod host;
mod recovery;
mod running;
mod script;
