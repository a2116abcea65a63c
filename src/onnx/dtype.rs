//! Element types of tensors.

use std::fmt;

/// Element type of a tensor, as `TensorProto.DataType` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum DataType {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8E4M3Fn = 17,
    Float8E4M3Fnuz = 18,
    Float8E5M2 = 19,
    Float8E5M2Fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
    Float4E2M1 = 23,
    Float8E8M0 = 24,
    Uint2 = 25,
    Int2 = 26,
    Float6E2M3 = 27,
    Float6E3M2 = 28,
}

/// Every type, its name in ONNX's notation and its width in bits (0 for strings).
const TYPES: [(DataType, &str, usize); 28] = [
    (DataType::Float, "float", 32),
    (DataType::Uint8, "uint8", 8),
    (DataType::Int8, "int8", 8),
    (DataType::Uint16, "uint16", 16),
    (DataType::Int16, "int16", 16),
    (DataType::Int32, "int32", 32),
    (DataType::Int64, "int64", 64),
    (DataType::String, "string", 0),
    (DataType::Bool, "bool", 8),
    (DataType::Float16, "float16", 16),
    (DataType::Double, "double", 64),
    (DataType::Uint32, "uint32", 32),
    (DataType::Uint64, "uint64", 64),
    (DataType::Complex64, "complex64", 64),
    (DataType::Complex128, "complex128", 128),
    (DataType::Bfloat16, "bfloat16", 16),
    (DataType::Float8E4M3Fn, "float8e4m3fn", 8),
    (DataType::Float8E4M3Fnuz, "float8e4m3fnuz", 8),
    (DataType::Float8E5M2, "float8e5m2", 8),
    (DataType::Float8E5M2Fnuz, "float8e5m2fnuz", 8),
    (DataType::Uint4, "uint4", 4),
    (DataType::Int4, "int4", 4),
    (DataType::Float4E2M1, "float4e2m1", 4),
    (DataType::Float8E8M0, "float8e8m0", 8),
    (DataType::Uint2, "uint2", 2),
    (DataType::Int2, "int2", 2),
    (DataType::Float6E2M3, "float6e2m3", 6),
    (DataType::Float6E3M2, "float6e3m2", 6),
];

impl DataType {
    /// The type with this number in `TensorProto.DataType`.
    pub fn from_number(number: i32) -> Option<Self> {
        TYPES.iter().map(|row| row.0).find(|dtype| *dtype as i32 == number)
    }

    /// The number in `TensorProto.DataType`.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The name in ONNX's notation: `float`, `int64`, …
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bits of one element; 0 for strings.
    pub fn bits(self) -> usize {
        self.row().2
    }

    /// Bytes that `elements` packed elements take; `None` for strings and on overflow.
    pub fn bytes_for(self, elements: usize) -> Option<usize> {
        match self.bits() {
            0 => None,
            bits => elements.checked_mul(bits).map(|bits| bits.div_ceil(8)),
        }
    }

    /// Whether weights of this type are parameters that pruning and training may change.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Float16 | Self::Double | Self::Bfloat16)
    }

    fn row(self) -> (Self, &'static str, usize) {
        // The table holds the variants in the order of their numbers, which start at 1; a test holds that.
        TYPES[self as usize - 1]
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_numbers() {
        for (i, row) in TYPES.iter().enumerate() {
            assert_eq!(row.0.number(), i as i32 + 1);
            assert_eq!(DataType::from_number(row.0.number()), Some(row.0));
        }
    }
}
