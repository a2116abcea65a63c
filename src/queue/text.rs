//! Text that PostgreSQL can hold: it refuses the character NUL in text and jsonb. Messages come from attempts, whose
//! native code may print anything; one such byte must not keep a job from ending.

use serde::Serialize;
use serde_json::Value;

use crate::store::error::StoreError;

/// The text without NUL.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// As JSON without NUL in any string or key.
pub(super) fn to_json(value: &impl Serialize) -> Result<Value, StoreError> {
    Ok(clean_json(serde_json::to_value(value)?))
}

fn clean_json(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(clean(&text)),
        Value::Array(items) => items.into_iter().map(clean_json).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (clean(&key), clean_json(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_goes_from_strings_and_keys_at_any_depth() {
        assert_eq!(to_json(&json!({"a\0": [{"b": "x\0y"}, 1]})).unwrap(), json!({"a": [{"b": "xy"}, 1]}));
    }
}
