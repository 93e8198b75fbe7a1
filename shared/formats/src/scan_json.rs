//! Record boundaries of a JSON document: the elements of its array.

use landfall_domain::{Problem, ProblemCode};
use memchr::{memchr_iter, memchr2};

use crate::json_value::JsonValue;
use crate::scan::{PlannedChunk, Planner, Position};
use crate::scan_ndjson::is_space;

pub(crate) struct JsonScanner {
    path: Vec<String>,
    /// How many objects of the path are open.
    level: usize,
    /// How many names of the path have been met; each may be met once.
    met: usize,
    /// Whether the array was found.
    found: bool,
    state: State,
    key: Vec<u8>,
    longest_key: usize,
    element: Position,
    pub(crate) position: Position,
    pub(crate) planner: Planner,
}

enum State {
    /// Before the root, or the value of a property of the path.
    PathValue,
    /// After the `{` of an object of the path.
    FirstKey,
    /// After a comma in an object of the path.
    Key,
    /// In a name, perhaps after a backslash.
    InKey {
        escape: bool,
    },
    /// After a name.
    Colon {
        on_path: bool,
    },
    /// Before the value of a property that is not of the path.
    OtherValue,
    InOther(JsonValue),
    /// After a value in an object of the path.
    ObjectComma,
    /// After the `[` of the array.
    FirstElement,
    /// After a comma in the array.
    Element,
    InElement(JsonValue),
    /// After an element.
    ArrayComma,
    /// After the root.
    End,
}

/// A problem, at a byte of the slice in hand.
struct Fault {
    at: usize,
    code: ProblemCode,
    message: String,
}

impl JsonScanner {
    pub(crate) fn new(path: Vec<String>, planner: Planner) -> Self {
        // A character of a name takes six bytes for each of its UTF-16 units at most.
        let longest_key = path.iter().map(|name| name.len() * 6).max().unwrap_or(0);
        Self {
            path,
            level: 0,
            met: 0,
            found: false,
            state: State::PathValue,
            key: Vec::new(),
            longest_key,
            element: Position::START,
            position: Position::START,
            planner,
        }
    }

    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<PlannedChunk>,
    ) -> Result<(), Problem> {
        let start = self.position;
        let mut at = 0;
        // Bytes whose lines are in `self.position.line`.
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

    pub(crate) fn finish(&mut self, out: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        self.planner.close(out);
        let place = match self.state {
            // Nothing but white space: an object without records.
            State::PathValue if self.level == 0 => return Ok(()),
            State::End if self.found => return Ok(()),
            State::End => {
                let message = format!(
                    "the document has no property {}, where json.path says the rows are",
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
            "the document ends {place} (byte {}, line {}): was it cut short?",
            self.position.offset, self.position.line
        );
        Err(Problem::new(ProblemCode::Malformed, message))
    }

    /// Takes at least one byte from `at` on, or moves to another state; gives the next `at`.
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
                self.planner.record(self.element, end, out);
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
        if is_space(byte) {
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
                return Err(unexpected("nothing more after the document", byte, at));
            }
        };
        Ok(at + 1)
    }

    /// Opens the root, or a value on the path.
    fn path_value(&mut self, byte: u8, at: usize) -> Result<State, Fault> {
        let wanted = if self.level < self.path.len() {
            b'{'
        } else {
            b'['
        };
        if byte == wanted {
            if wanted == b'{' {
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
        let message = match (self.level, wanted) {
            (0, b'[') if byte == b'{' => {
                "the document is an object, not an array of rows: set json.path to where the rows are, or write one \
                 object a line (NDJSON)"
                    .to_owned()
            }
            (0, b'[') => format!("the document is {what}, not an array of rows"),
            (0, _) => format!(
                "the document is {what}, and has no property {} where json.path says the rows are",
                self.path.join(".")
            ),
            (_, b'[') => format!(
                "{}, where json.path says the rows are, is {what}, not an array",
                self.path.join(".")
            ),
            (level, _) => format!(
                "{} is {what}, not an object: json.path says the rows are at {}",
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
        let (taken, next) = if escape {
            (1, State::InKey { escape: false })
        } else {
            match memchr2(b'"', b'\\', rest) {
                None => (rest.len(), State::InKey { escape: false }),
                Some(found) if rest[found] == b'\\' => (found + 1, State::InKey { escape: true }),
                Some(found) => {
                    self.keep_key(&rest[..found]);
                    let on_path = self.is_on_path();
                    if on_path {
                        if self.met >= self.level {
                            let message = format!(
                                "the property {} stands twice: which of the two has the rows is not clear",
                                self.path[..self.level].join(".")
                            );
                            return Err(malformed(at, message));
                        }
                        self.met = self.level;
                    }
                    self.state = State::Colon { on_path };
                    return Ok(at + found + 1);
                }
            }
        };
        self.keep_key(&rest[..taken]);
        self.state = next;
        Ok(at + taken)
    }

    /// Keeps a name only as far as it can still be one of the path.
    fn keep_key(&mut self, bytes: &[u8]) {
        let room = (self.longest_key + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn is_on_path(&self) -> bool {
        let name = &self.path[self.level - 1];
        if self.key.len() > self.longest_key || !self.key.contains(&b'\\') {
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
