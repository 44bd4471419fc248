//! Lossless serialization of an `f64`, with strings for values that JSON lacks (`"NaN"`, `"inf"`): `#[serde(with = "exact")]`.

use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrString {
    Number(f64),
    String(String),
}

/// Serializes a finite value as a number, and any other value as a string.
///
/// # Errors
/// Returns the error of the serializer.
pub fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if x.is_finite() { serializer.serialize_f64(*x) } else { serializer.collect_str(x) }
}

/// Deserializes the output of [`serialize`].
///
/// # Errors
/// Returns the error of the deserializer, or an error if a string is not a number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match NumberOrString::deserialize(deserializer)? {
        NumberOrString::Number(x) => Ok(x),
        NumberOrString::String(word) => word.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[test]
    fn nan_and_infinity_survive_json() {
        #[derive(Serialize, Deserialize)]
        struct Number(#[serde(with = "super")] f64);
        for x in [0.1, -0.0, 1e-310, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            let text = serde_json::to_string(&Number(x)).unwrap();
            let read: Number = serde_json::from_str(&text).unwrap();
            assert_eq!(read.0.to_bits(), x.to_bits(), "{text}");
        }
        let text = serde_json::to_string(&Number(f64::NAN)).unwrap();
        assert!(serde_json::from_str::<Number>(&text).unwrap().0.is_nan(), "{text}");
        let error = serde_json::from_str::<Number>("\"much\"").err().unwrap().to_string();
        assert!(error.contains("invalid float literal"), "{error}");
    }
}
