//! Whose rows a query may see.

use uuid::Uuid;

/// A tenant: the first argument of every query on tenant-owned rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(pub Uuid);

/// The tenant of an installation without keys; its row is made by the first migration.
pub const DEFAULT_TENANT: TenantId = TenantId(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0000));

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
