//! Record boundaries of a JSON document: every element of its array is a record.

use landfall_domain::{Problem, ProblemCode};
use memchr::{memchr_iter, memchr2};

use super::planner::{PlannedChunk, Planner, Position};
use crate::json_value::JsonValue;
use crate::syntax::is_json_space;

pub(super) struct JsonScanner {
    path: Vec<String>,
    /// The number of open objects on the path.
    level: usize,
    /// The number of names on the path found so far. Each may occur once.
    matched: usize,
    /// Whether the array has been found.
    found: bool,
    state: State,
    /// The current property name, up to `max_key_bytes` and one byte more.
    key: Vec<u8>,
    /// The maximum length of a name on the path, with every character escaped.
    max_key_bytes: usize,
    element: Position,
    pub(super) position: Position,
    pub(super) planner: Planner,
}

enum State {
    /// Before the root, or before the value of a property on the path.
    PathValue,
    /// After the `{` of an object on the path.
    FirstKey,
    /// After a comma in an object on the path.
    Key,
    /// In a property name, possibly after a backslash.
    InKey { escape: bool },
    /// After a property name.
    Colon { on_path: bool },
    /// Before the value of a property that is not on the path.
    OtherValue,
    /// In such a value.
    InOther(JsonValue),
    /// After a value in an object on the path.
    ObjectComma,
    /// After the `[` of the array.
    FirstElement,
    /// After a comma in the array.
    Element,
    /// In an element.
    InElement(JsonValue),
    /// After an element.
    ArrayComma,
    /// After the root.
    End,
}

/// A problem at a byte of the current slice.
struct Fault {
    at: usize,
    code: ProblemCode,
    message: String,
}

impl JsonScanner {
    pub(super) fn new(path: Vec<String>, planner: Planner) -> Self {
        // An escaped character takes six bytes for each UTF-16 unit, of which it has at most one per byte.
        let max_key_bytes = path.iter().map(|name| name.len() * 6).max().unwrap_or(0);
        Self {
            path,
            level: 0,
            matched: 0,
            found: false,
            state: State::PathValue,
            key: Vec::new(),
            max_key_bytes,
            element: Position::START,
            position: Position::START,
            planner,
        }
    }

    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<PlannedChunk>,
    ) -> Result<(), Problem> {
        let start = self.position;
        let mut at = 0;
        // Number of bytes whose newlines are included in `self.position.line`.
        let mut counted = 0;
        while at < bytes.len() {
            match self.step(bytes, at, start.offset, &mut counted, out) {
                Ok(next) => at = next,
                Err(fault) => {
                    self.planner.close(out);
                    let offset = start.offset + fault.at as u64;
                    let line = self.position.line + lines(&bytes[counted..fault.at]);
                    let message = format!("{} (byte {offset}, line {line})", fault.message);
                    return Err(Problem::new(fault.code, message));
                }
            }
        }
        self.position.line += lines(&bytes[counted..]);
        self.position.offset += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        self.planner.close(out);
        let position = match self.state {
            // Nothing but white space, which is an object without records.
            State::PathValue if self.level == 0 => return Ok(()),
            State::End if self.found => return Ok(()),
            State::End => {
                let message = format!(
                    "the document has no property {}: correct json.path",
                    self.path.join(".")
                );
                return Err(Problem::new(ProblemCode::FormatMismatch, message));
            }
            State::InElement(_) => {
                format!("in the record that starts at byte {}", self.element.offset)
            }
            State::FirstElement | State::Element | State::ArrayComma => {
                "before the array of rows is closed".to_owned()
            }
            _ => "before the document is complete".to_owned(),
        };
        let message = format!(
            "the document ends {position} (byte {}, line {}): check that the file is complete",
            self.position.offset, self.position.line
        );
        Err(Problem::new(ProblemCode::Malformed, message))
    }

    /// Consumes at least one byte at `at`, or changes the state. Returns where to continue.
    fn step(
        &mut self,
        bytes: &[u8],
        at: usize,
        base: u64,
        counted: &mut usize,
        out: &mut Vec<PlannedChunk>,
    ) -> Result<usize, Fault> {
        match &mut self.state {
            State::InElement(value) => {
                let Some(length) = feed_value(value, bytes, at)? else {
                    return Ok(bytes.len());
                };
                self.state = State::ArrayComma;
                let end = base + (at + length) as u64;
                self.planner.add_record(self.element, end, out);
                return Ok(at + length);
            }
            State::InOther(value) => {
                let Some(length) = feed_value(value, bytes, at)? else {
                    return Ok(bytes.len());
                };
                self.state = State::ObjectComma;
                return Ok(at + length);
            }
            State::InKey { escape } => {
                let escape = *escape;
                return self.key_bytes(bytes, at, escape);
            }
            _ => {}
        }
        let byte = bytes[at];
        if is_json_space(byte) {
            return Ok(at + 1);
        }
        self.state = match (&self.state, byte) {
            (State::PathValue, _) => self.path_value(byte, at)?,
            (State::FirstKey | State::ObjectComma, b'}') => {
                self.level -= 1;
                self.after_value()
            }
            (State::FirstKey | State::Key, b'"') => {
                self.key.clear();
                State::InKey { escape: false }
            }
            (State::Colon { on_path: true }, b':') => State::PathValue,
            (State::Colon { on_path: false }, b':') => State::OtherValue,
            (State::ObjectComma, b',') => State::Key,
            (State::OtherValue, _) => State::InOther(start_value(byte, at)?),
            (State::FirstElement | State::ArrayComma, b']') => self.after_value(),
            (State::FirstElement | State::Element, _) => {
                let value = start_value(byte, at)?;
                self.position.line += lines(&bytes[*counted..at]);
                *counted = at;
                self.element = Position {
                    offset: base + at as u64,
                    line: self.position.line,
                };
                State::InElement(value)
            }
            (State::ArrayComma, b',') => State::Element,
            (State::ArrayComma, _) => {
                return Err(unexpected("',' or ']' after a record", byte, at));
            }
            (State::FirstKey, _) => return Err(unexpected("a property or '}'", byte, at)),
            (State::Key, _) => return Err(unexpected("a property", byte, at)),
            (State::Colon { .. }, _) => return Err(unexpected("':'", byte, at)),
            (State::ObjectComma, _) => {
                return Err(unexpected("',' or '}' after a property", byte, at));
            }
            (State::End | State::InElement(_) | State::InOther(_) | State::InKey { .. }, _) => {
                return Err(unexpected("the end of the document", byte, at));
            }
        };
        Ok(at + 1)
    }

    /// Opens the root, or a value on the path, and returns the next state.
    fn path_value(&mut self, byte: u8, at: usize) -> Result<State, Fault> {
        let expected = if self.level < self.path.len() {
            b'{'
        } else {
            b'['
        };
        if byte == expected {
            if expected == b'{' {
                self.level += 1;
                return Ok(State::FirstKey);
            }
            self.found = true;
            return Ok(State::FirstElement);
        }
        start_value(byte, at)?;
        let what = match byte {
            b'{' => "an object",
            b'[' => "an array",
            b'"' => "a string",
            _ => "a single value",
        };
        let message = match (self.level, expected) {
            (0, b'[') if byte == b'{' => {
                "the document is an object, not an array of rows: set json.path to the array of rows, or write one \
                 object per line (NDJSON)"
                    .to_owned()
            }
            (0, b'[') => format!("the document is {what}, not an array of rows"),
            (0, _) => format!(
                "the document is {what}, so it has no property {}: correct json.path",
                self.path.join(".")
            ),
            (_, b'[') => format!(
                "{} is {what}, not an array of rows: correct json.path",
                self.path.join(".")
            ),
            (level, _) => format!(
                "{} is {what}, not an object, so there is no {}: correct json.path",
                self.path[..level].join("."),
                self.path.join(".")
            ),
        };
        Err(Fault {
            at,
            code: ProblemCode::FormatMismatch,
            message,
        })
    }

    fn after_value(&self) -> State {
        if self.level == 0 {
            State::End
        } else {
            State::ObjectComma
        }
    }

    fn key_bytes(&mut self, bytes: &[u8], at: usize, escape: bool) -> Result<usize, Fault> {
        let rest = &bytes[at..];
        let (length, next) = if escape {
            (1, State::InKey { escape: false })
        } else {
            match memchr2(b'"', b'\\', rest) {
                None => (rest.len(), State::InKey { escape: false }),
                Some(found) if rest[found] == b'\\' => (found + 1, State::InKey { escape: true }),
                Some(found) => {
                    self.keep_key(&rest[..found]);
                    let on_path = self.is_on_path();
                    if on_path {
                        if self.matched >= self.level {
                            let message = format!(
                                "the property {} occurs twice, so it is ambiguous which one contains the rows: remove one",
                                self.path[..self.level].join(".")
                            );
                            return Err(malformed(at, message));
                        }
                        self.matched = self.level;
                    }
                    self.state = State::Colon { on_path };
                    return Ok(at + found + 1);
                }
            }
        };
        self.keep_key(&rest[..length]);
        self.state = next;
        Ok(at + length)
    }

    /// Appends to the current name, up to one byte more than any name on the path can have.
    fn keep_key(&mut self, bytes: &[u8]) {
        debug_assert!(self.key.len() <= self.max_key_bytes + 1);
        let room = self.max_key_bytes + 1 - self.key.len();
        self.key.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn is_on_path(&self) -> bool {
        let name = &self.path[self.level - 1];
        if self.key.len() > self.max_key_bytes || !self.key.contains(&b'\\') {
            return self.key == name.as_bytes();
        }
        let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
        serde_json::from_slice::<String>(&quoted).is_ok_and(|key| key == *name)
    }
}

fn start_value(byte: u8, at: usize) -> Result<JsonValue, Fault> {
    JsonValue::starting_with(byte).ok_or_else(|| unexpected("a value", byte, at))
}

fn feed_value(value: &mut JsonValue, bytes: &[u8], at: usize) -> Result<Option<usize>, Fault> {
    value
        .feed(&bytes[at..])
        .map_err(|broken| malformed(at + broken.at, broken.message))
}

fn malformed(at: usize, message: String) -> Fault {
    Fault {
        at,
        code: ProblemCode::Malformed,
        message,
    }
}

fn unexpected(expected: &str, byte: u8, at: usize) -> Fault {
    let found = if byte.is_ascii_graphic() {
        format!("'{}'", char::from(byte))
    } else {
        format!("the byte 0x{byte:02x}")
    };
    malformed(at, format!("expected {expected}, found {found}"))
}

fn lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
