//! Job states: enqueue, claim, renew, checkpoint, finish; every write fenced.
