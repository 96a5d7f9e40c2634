//! Serde formats for types that serde does not support, or writes in another form.

/// Writes `Arc<str>` as a string.
pub mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }

    pub mod option {
        use std::sync::Arc;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
            text.as_deref().serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
            Option::<String>::deserialize(deserializer).map(|text| text.map(Arc::from))
        }
    }
}

/// Writes a result as `{"reply": ..}` or `{"error": ..}`.
pub mod outcome {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Written<R, E> {
        Reply(R),
        Error(E),
    }

    pub fn serialize<R: Serialize, E: Serialize, S: Serializer>(
        outcome: &Result<R, E>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match outcome {
            Ok(reply) => Written::Reply(reply),
            Err(error) => Written::Error(error),
        }
        .serialize(serializer)
    }

    pub fn deserialize<'de, R: Deserialize<'de>, E: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Result<R, E>, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Reply(reply) => Ok(reply),
            Written::Error(error) => Err(error),
        })
    }
}

/// Writes a duration as whole microseconds.
pub mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
