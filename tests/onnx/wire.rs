//! A reader of protobuf wire fields that goes by the published schema alone: what a file says, without our structs.

use secateur::onnx::schema::{Kind, Wire};

/// A field's content. Packed numbers are told apart one by one.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Number(u64),
    Bytes(Vec<u8>),
    Message(Vec<(u32, Content)>),
}

/// The fields of a message by number; entries of one field keep their order, which is all that protobuf promises.
pub fn read(kind: Kind, bytes: &[u8]) -> Vec<(u32, Content)> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let key = varint(bytes, &mut at);
        let number = u32::try_from(key >> 3).unwrap();
        let field = kind.field(number).unwrap_or_else(|| panic!("{kind:?} has an unknown field {number}"));
        match key & 7 {
            0 => fields.push((number, Content::Number(varint(bytes, &mut at)))),
            1 => fields.push((number, Content::Number(fixed(bytes, &mut at, 8)))),
            5 => fields.push((number, Content::Number(fixed(bytes, &mut at, 4)))),
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)).unwrap();
                let inner = &bytes[at..at + length];
                at += length;
                match field.wire {
                    Wire::Message(kind) => fields.push((number, Content::Message(read(kind, inner)))),
                    Wire::Str | Wire::Bytes => fields.push((number, Content::Bytes(inner.to_vec()))),
                    Wire::Varint | Wire::F32 | Wire::F64 => {
                        let mut place = 0;
                        while place < inner.len() {
                            let value = match field.wire {
                                Wire::F32 => fixed(inner, &mut place, 4),
                                Wire::F64 => fixed(inner, &mut place, 8),
                                _ => varint(inner, &mut place),
                            };
                            fields.push((number, Content::Number(value)));
                        }
                    }
                }
            }
            other => panic!("wire type {other}"),
        }
    }
    fields.sort_by_key(|(number, _)| *number);
    fields
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return value;
        }
    }
    unreachable!("a number ends before memory does")
}

fn fixed(bytes: &[u8], at: &mut usize, width: usize) -> u64 {
    let mut word = [0; 8];
    word[..width].copy_from_slice(&bytes[*at..*at + width]);
    *at += width;
    u64::from_le_bytes(word)
}

/// Makes wire bytes for files that no encoder of ours would write.
#[derive(Clone, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn number(mut self, field: u32, value: u64) -> Self {
        self.raw(u64::from(field) << 3);
        self.raw(value);
        self
    }

    pub fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.raw(u64::from(field) << 3 | 2);
        self.raw(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub fn message(self, field: u32, message: Writer) -> Self {
        self.bytes(field, message.0)
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
