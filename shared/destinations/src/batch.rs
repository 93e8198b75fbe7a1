//! Calls with several rows.

use crate::judge::is_temporary;
use crate::templates::MAX_BODY_BYTES;
use crate::{Call, Destination, Reply};

impl Destination {
    /// Returns the maximum number of rows in a call, whose body is an array then; none if a call has one row.
    pub fn batch(&self) -> Option<usize> {
        self.batch
    }

    /// Divides calls for single rows into batches, each of one operation and within the limits of a call.
    pub fn batches<T>(&self, calls: Vec<(T, Call)>) -> Vec<Vec<(T, Call)>> {
        let mut batches: Vec<(usize, Vec<(T, Call)>)> = Vec::new();
        for (item, call) in calls {
            // With a comma or bracket.
            let size = call.body.as_ref().map_or(0, Vec::len) + 2;
            let batch = batches.iter_mut().find(|(bytes, batch)| {
                batch.len() < self.batch.unwrap_or(1)
                    && bytes + size <= MAX_BODY_BYTES
                    && batch[0].1.operation == call.operation
            });
            match batch {
                Some((bytes, batch)) => {
                    *bytes += size;
                    batch.push((item, call));
                }
                None => batches.push((size, vec![(item, call)])),
            }
        }
        batches.into_iter().map(|(_, batch)| batch).collect()
    }

    /// Returns whether the service refuses a call for good, perhaps because of one of its rows.
    pub fn refuses(&self, reply: &Reply<'_>) -> bool {
        match reply {
            Reply::Answer { status, .. } => {
                !self.is_success(*status) && !status.is_server_error() && !is_temporary(*status)
            }
            Reply::NotSent(_) | Reply::Lost(_) => false,
        }
    }
}

impl Call {
    /// Returns the call that does what these do together; none if there are none. Their operation is the same, and so
    /// are their URLs, which name no row.
    pub fn join<'c>(calls: impl IntoIterator<Item = &'c Self>) -> Option<Self> {
        let (mut first, mut body, mut hasher) = (None, vec![b'['], blake3::Hasher::new());
        for call in calls {
            if first.is_some() {
                body.push(b',');
            }
            first = first.or(Some(call));
            body.extend_from_slice(call.body.as_deref().unwrap_or(b"null"));
            hasher.update(call.id.as_bytes());
        }
        body.push(b']');
        Some(Self {
            body: Some(body),
            id: format!("msg_{}", &hasher.finalize().to_hex()[..32]),
            ..first?.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::Operation;

    fn call(operation: Operation, body: &str) -> Call {
        Call {
            operation,
            method: Method::PUT,
            url: "https://shop.example/o".parse().unwrap(),
            body: Some(body.into()),
            id: body.to_owned(),
        }
    }

    #[test]
    fn bodies_become_an_array_and_ids_one() {
        let calls = ["1", "{}", "[2]"].map(|body| call(Operation::Update, body));
        let joined = Call::join(&calls).unwrap();
        assert_eq!(joined.body.as_deref(), Some(&b"[1,{},[2]]"[..]));
        assert_eq!(Call::join(&calls).unwrap().id, joined.id);
        let alone = Call::join(&calls[..1]).unwrap();
        assert_eq!(alone.body.as_deref(), Some(&b"[1]"[..]));
        assert_ne!(joined.id, alone.id);
        assert_eq!(Call::join([]), None);
    }
}
