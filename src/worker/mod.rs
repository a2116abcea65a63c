//! Claims jobs, keeps their leases alive, starts and supervises attempts, publishes results.
