//! The header of a `.npy` file: element type, order and shape of an array.

use crate::onnx::dtype::DataType;
use crate::onnx::tensor::element_count;

/// Longest header that is read; numpy's own are 128 bytes.
const HEADER_BYTES: usize = 1 << 16;
const MAGIC: &[u8] = b"\x93NUMPY";

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) dtype: DataType,
    pub(super) big_endian: bool,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
    /// Bytes of the elements; never 0.
    pub(super) bytes: usize,
}

/// Element types that are read: numpy's letter and width, its name, ours.
const TYPES: [(&str, &str, DataType); 12] = [
    ("b1", "bool", DataType::Bool),
    ("i1", "int8", DataType::Int8),
    ("i2", "int16", DataType::Int16),
    ("i4", "int32", DataType::Int32),
    ("i8", "int64", DataType::Int64),
    ("u1", "uint8", DataType::Uint8),
    ("u2", "uint16", DataType::Uint16),
    ("u4", "uint32", DataType::Uint32),
    ("u8", "uint64", DataType::Uint64),
    ("f2", "float16", DataType::Float16),
    ("f4", "float32", DataType::Float),
    ("f8", "float64", DataType::Double),
];

/// numpy's name of an element type.
pub(super) fn numpy_name(dtype: DataType) -> &'static str {
    TYPES.iter().find(|row| row.2 == dtype).map_or(dtype.name(), |row| row.1)
}

/// Reads the header at the start of `bytes` and gives it with the offset of the elements; `None` where more bytes are
/// needed.
///
/// Errors: what is wrong with it, to be read after the entry's name.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, String> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err("is not a .npy file".into());
    }
    let (start, length) = match *bytes {
        [_, _, _, _, _, _, 1, _, low, high, ..] => (10, usize::from(u16::from_le_bytes([low, high]))),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        [_, _, _, _, _, _, version, ..] if !(1..=3).contains(&version) => {
            return Err(format!("is of version {version} of the .npy format; 1 to 3 are read"));
        }
        _ => return Ok(None),
    };
    if length > HEADER_BYTES {
        return Err(format!("has a header of {length} bytes; {HEADER_BYTES} are read"));
    }
    let Some(text) = bytes.get(start..start + length) else { return Ok(None) };
    let text = std::str::from_utf8(text).map_err(|_| "has a header that is not text".to_owned())?;
    Ok(Some((describe(text)?, start + length)))
}

fn describe(text: &str) -> Result<Header, String> {
    let mut rest = Literal { text };
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    rest.expect('{')?;
    while !rest.eat('}') {
        let key = rest.string()?;
        rest.expect(':')?;
        match key {
            "descr" => descr = Some(rest.element_type()?),
            "fortran_order" => fortran_order = Some(rest.boolean()?),
            "shape" => shape = Some(rest.tuple()?),
            other => return Err(format!("has the unknown field `{other}` in its header")),
        }
        if !rest.eat(',') {
            rest.expect('}')?;
            break;
        }
    }
    let (Some((dtype, big_endian)), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
        return Err("has a header without `descr`, `fortran_order` or `shape`".into());
    };
    let bytes = element_count(&shape)
        .and_then(|count| dtype.bytes_for(count))
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(|| format!("has the shape {shape:?}, which is more than can be counted"))?;
    // The other axes of such a shape may be of any size at no cost to the file: nobody is to walk over them.
    if bytes == 0 {
        return Err(format!("holds nothing: its shape is {shape:?}"));
    }
    Ok(Header { dtype, big_endian, fortran_order, shape, bytes })
}

/// What is left of a Python literal.
struct Literal<'t> {
    text: &'t str,
}

impl<'t> Literal<'t> {
    fn eat(&mut self, token: char) -> bool {
        self.text = self.text.trim_start();
        match self.text.strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(format!("has a header in which `{token}` is missing")) }
    }

    fn string(&mut self) -> Result<&'t str, String> {
        let quote = if self.eat('\'') {
            '\''
        } else {
            self.expect('"')?;
            '"'
        };
        let (inside, rest) = self.text.split_once(quote).ok_or("has a header with an open string")?;
        self.text = rest;
        Ok(inside)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.text = self.text.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.text.strip_prefix(word) {
                self.text = rest;
                return Ok(value);
            }
        }
        Err("has a header whose `fortran_order` is neither True nor False".into())
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut sizes = Vec::new();
        while !self.eat(')') {
            self.text = self.text.trim_start();
            let digits = self.text.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.text.len());
            let size = self.text[..digits].parse().map_err(|_| "has a header whose `shape` is no tuple of sizes")?;
            sizes.push(size);
            self.text = &self.text[digits..];
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        if sizes.len() > 32 {
            return Err(format!("has {} axes; numpy has 32 at most", sizes.len()));
        }
        Ok(sizes)
    }

    fn element_type(&mut self) -> Result<(DataType, bool), String> {
        if self.eat('[') {
            return Err("holds records (a structured dtype); save each field as an array of its own".into());
        }
        let descr = self.string()?;
        let (order, kind) = descr.split_at_checked(1).unwrap_or(("", descr));
        if kind.starts_with('O') {
            return Err("holds Python objects (dtype object), which are never unpickled; save numbers".into());
        }
        let row = TYPES.iter().find(|row| row.0 == kind).filter(|_| matches!(order, "<" | ">" | "|" | "="));
        let row = row.ok_or_else(|| {
            format!("holds elements of the type `{descr}`; integers, booleans and floats of 16 to 64 bits are read")
        })?;
        Ok((row.2, order == ">" && row.2.bits() > 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, dictionary: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((dictionary.len() as u16).to_le_bytes()),
            _ => bytes.extend((dictionary.len() as u32).to_le_bytes()),
        }
        bytes.extend(dictionary.as_bytes());
        bytes
    }

    #[test]
    fn headers_of_every_version_are_read() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (5000, 3, 32), }      \n";
        for version in 1..=3 {
            let bytes = file(version, text);
            let (header, offset) = parse(&bytes).unwrap().unwrap();
            assert_eq!((header.dtype, header.shape.as_slice()), (DataType::Float, &[5000, 3, 32][..]));
            assert_eq!((header.bytes, offset), (5000 * 3 * 32 * 4, bytes.len()));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]).unwrap(), None, "cut at {cut}");
            }
        }
        let (header, _) = parse(&file(1, "{'shape':(7,),'fortran_order':True,\"descr\":'>i2'}")).unwrap().unwrap();
        assert_eq!((header.shape.as_slice(), header.big_endian, header.fortran_order), (&[7][..], true, true));
        let (scalar, _) = parse(&file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': ()}")).unwrap().unwrap();
        assert_eq!((scalar.shape.len(), scalar.bytes), (0, 1));
    }

    #[test]
    fn hostile_headers_are_refused_with_the_reason() {
        let dictionary =
            |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}");
        for (text, reason) in [
            (dictionary("'|O'", "(3,)"), "Python objects"),
            (dictionary("'<U5'", "(3,)"), "`<U5`"),
            (dictionary("'<c8'", "(3,)"), "`<c8`"),
            (dictionary("[('a', '<f4')]", "(3,)"), "records"),
            (dictionary("'<f4'", "(-3,)"), "no tuple of sizes"),
            (dictionary("'<f8'", "(9223372036854775807, 9223372036854775807)"), "more than can be counted"),
            (dictionary("'<f8'", "(1152921504606846976,)"), "more than can be counted"),
            (dictionary("'<f8'", "(99999999999999999999999,)"), "no tuple of sizes"),
            (dictionary("'é1'", "(1,)"), "`é1`"),
            ("{'descr': '<f4'}".into(), "without"),
            ("{'descr': '<f4".into(), "open string"),
            ("{'evil': 1}".into(), "unknown field"),
            (format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({})}}", "1,".repeat(40)), "40 axes"),
        ] {
            let error = parse(&file(1, &text)).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let mut long = file(2, "");
        long.splice(8..12, u32::MAX.to_le_bytes());
        assert!(parse(&long).unwrap_err().contains("header of 4294967295 bytes"));
        assert!(parse(b"PK").is_err());
        assert!(parse(&file(9, "{}")).unwrap_err().contains("version 9"));
    }
}
