//! Record boundaries of a JSON document: every element of its array is a record, or every object at the root.

use landfall_domain::{Problem, ProblemCode};
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use super::planner::{Planner, Position};
use crate::json_value::JsonValue;
use crate::syntax::is_between_json;

pub(super) struct JsonScanner {
    path: Vec<String>,
    /// The maximum length of a name on the path, with quotes and every character escaped.
    max_key_bytes: usize,
    place: Place,
}

/// Where a scanner is between two bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// The number of open objects on the path.
    level: usize,
    /// The number of names on the path found so far. Each may occur once.
    matched: usize,
    /// Whether the array has been found.
    found: bool,
    /// Whether the records are objects at the root, with or without white space or commas between them.
    is_sequence: bool,
    state: State,
    /// The current property name as JSON, up to `max_key_bytes`.
    key: Vec<u8>,
    element: Position,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    /// Before the root, or before the value of a property on the path.
    PathValue,
    /// After the `{` of an object on the path.
    FirstKey,
    /// After a comma in an object on the path.
    Key,
    /// In a property name.
    InKey(JsonValue),
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
    /// After an object at the root.
    AfterObject,
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
    pub(super) fn new(path: Vec<String>) -> Self {
        // An escaped character takes six bytes for each UTF-16 unit, of which it has at most one per byte.
        let longest = path.iter().map(String::len).max().unwrap_or(0);
        Self {
            path,
            max_key_bytes: longest * 6 + 2,
            place: Place {
                level: 0,
                matched: 0,
                found: false,
                is_sequence: false,
                state: State::PathValue,
                key: Vec::new(),
                element: Position::START,
            },
        }
    }

    /// Returns where the scanner is.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Continues at a place of a scanner with the same settings. Returns `None` if its settings were others.
    pub(super) fn at(self, place: Place) -> Option<Self> {
        let fits = place.level <= self.path.len() && place.key.len() <= self.max_key_bytes;
        fits.then_some(Self { place, ..self })
    }
}

impl JsonScanner {
    /// Scans the next bytes, which start at the offset of the planner.
    pub(super) fn feed(&mut self, bytes: &[u8], planner: &mut Planner) -> Result<(), Problem> {
        let mut at = 0;
        // Number of bytes whose newlines are included in the line of the planner.
        let mut counted = 0;
        while at < bytes.len() {
            match self.step(bytes, at, &mut counted, planner) {
                Ok(next) => at = next,
                Err(fault) => {
                    planner.close();
                    let offset = planner.position.offset + fault.at as u64;
                    let line = planner.position.line + lines(&bytes[counted..fault.at]);
                    let message = format!("{} (byte {offset}, line {line})", fault.message);
                    return Err(Problem::new(fault.code, message));
                }
            }
        }
        planner.position.line += lines(&bytes[counted..]);
        Ok(())
    }

    /// Ends the scan at the offset of the planner.
    pub(super) fn finish(&mut self, planner: &mut Planner) -> Result<(), Problem> {
        let position = match self.place.state {
            // Nothing but white space, which is an object without records.
            State::PathValue if self.place.level == 0 => return Ok(()),
            State::AfterObject => return Ok(()),
            State::InElement(ref value) if self.place.is_sequence && value.is_scalar() => {
                planner.add_record(self.place.element, planner.position.offset);
                return Ok(());
            }
            State::End if self.place.found => return Ok(()),
            State::End => {
                let message = format!(
                    "the document has no property {}: correct json.path",
                    self.path.join(".")
                );
                return Err(Problem::new(ProblemCode::FormatMismatch, message));
            }
            State::InElement(_) => {
                format!(
                    "in the record that starts at byte {}",
                    self.place.element.offset
                )
            }
            State::FirstElement | State::Element | State::ArrayComma => {
                "before the array of rows is closed".to_owned()
            }
            _ => "before the document is complete".to_owned(),
        };
        let Position { offset, line } = planner.position;
        let message = format!(
            "the document ends {position} (byte {offset}, line {line}): check that the file is complete"
        );
        Err(Problem::new(ProblemCode::Malformed, message))
    }
}

impl JsonScanner {
    /// Consumes at least one byte at `at`, or changes the state. Returns where to continue.
    fn step(
        &mut self,
        bytes: &[u8],
        at: usize,
        counted: &mut usize,
        planner: &mut Planner,
    ) -> Result<usize, Fault> {
        if let State::InKey(value) | State::InOther(value) | State::InElement(value) =
            &mut self.place.state
        {
            let length = value
                .feed(&bytes[at..])
                .map_err(|broken| malformed(at + broken.at, broken.message))?;
            let end = length.map_or(bytes.len(), |length| at + length);
            if let State::InKey(_) = self.place.state {
                let room = self.max_key_bytes - self.place.key.len();
                self.place.key.extend(bytes[at..end].iter().take(room));
            }
            if length.is_some() {
                self.place.state = match self.place.state {
                    State::InKey(_) => State::Colon {
                        on_path: self.match_key(at)?,
                    },
                    State::InOther(_) => State::ObjectComma,
                    _ => {
                        planner
                            .add_record(self.place.element, planner.position.offset + end as u64);
                        if self.place.is_sequence {
                            State::AfterObject
                        } else {
                            State::ArrayComma
                        }
                    }
                };
            }
            return Ok(end);
        }
        let byte = bytes[at];
        if is_between_json(byte) {
            return Ok(at + 1);
        }
        self.place.state = match (&self.place.state, byte) {
            (State::PathValue, b'{') if self.path.is_empty() => {
                self.place.is_sequence = true;
                self.start_element(bytes, at, counted, planner)?
            }
            (State::PathValue, _) => self.path_value(byte, at)?,
            (State::FirstKey | State::ObjectComma, b'}') => {
                self.place.level -= 1;
                self.after_value()
            }
            (State::FirstKey | State::Key, b'"') => {
                self.place.key.clear();
                self.place.key.push(byte);
                State::InKey(start_value(byte, at)?)
            }
            (State::Colon { on_path: true }, b':') => State::PathValue,
            (State::Colon { on_path: false }, b':') => State::OtherValue,
            (State::ObjectComma, b',') => State::Key,
            (State::OtherValue, _) => State::InOther(start_value(byte, at)?),
            // Some programs write a comma after the last element, too.
            (State::FirstElement | State::ArrayComma | State::Element, b']') => self.after_value(),
            (State::FirstElement | State::Element, _) => {
                self.start_element(bytes, at, counted, planner)?
            }
            (State::AfterObject, b',') => State::AfterObject,
            (State::AfterObject, _) => self.start_element(bytes, at, counted, planner)?,
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
            (State::End, b'[' | b'{') => {
                let mut fault = unexpected("the end of the document", byte, at);
                fault.message += "; upload documents that were joined one by one";
                return Err(fault);
            }
            (State::End | State::InElement(_) | State::InOther(_) | State::InKey(_), _) => {
                return Err(unexpected("the end of the document", byte, at));
            }
        };
        Ok(at + 1)
    }

    /// Starts the record at `at`, and returns the next state.
    fn start_element(
        &mut self,
        bytes: &[u8],
        at: usize,
        counted: &mut usize,
        planner: &mut Planner,
    ) -> Result<State, Fault> {
        let value = start_value(bytes[at], at)?;
        planner.position.line += lines(&bytes[*counted..at]);
        *counted = at;
        self.place.element = Position {
            offset: planner.position.offset + at as u64,
            line: planner.position.line,
        };
        Ok(State::InElement(value))
    }

    /// Opens the root, or a value on the path, and returns the next state.
    fn path_value(&mut self, byte: u8, at: usize) -> Result<State, Fault> {
        let expects_array = self.place.level == self.path.len();
        match byte {
            b'[' if expects_array => {
                self.place.found = true;
                return Ok(State::FirstElement);
            }
            b'{' if !expects_array => {
                self.place.level += 1;
                return Ok(State::FirstKey);
            }
            _ => start_value(byte, at)?,
        };
        let what = match byte {
            b'{' => "an object",
            b'[' => "an array",
            b'"' => "a string",
            _ => "a single value",
        };
        let path = self.path.join(".");
        let message = match (self.place.level, expects_array) {
            (0, true) => format!("the document is {what}, not an array of rows"),
            (0, false) => {
                format!("the document is {what}, so it has no property {path}: correct json.path")
            }
            (_, true) => format!("{path} is {what}, not an array of rows: correct json.path"),
            (level, false) => format!(
                "{} is {what}, not an object, so there is no {path}: correct json.path",
                self.path[..level].join(".")
            ),
        };
        Err(Fault {
            at,
            code: ProblemCode::FormatMismatch,
            message,
        })
    }

    fn after_value(&self) -> State {
        if self.place.level == 0 {
            State::End
        } else {
            State::ObjectComma
        }
    }

    /// Returns whether the current property name is the next one on the path.
    fn match_key(&mut self, at: usize) -> Result<bool, Fault> {
        let name = &self.path[self.place.level - 1];
        // A name that was cut has no closing quote.
        let on_path =
            serde_json::from_slice::<String>(&self.place.key).is_ok_and(|key| key == *name);
        if on_path {
            if self.place.matched >= self.place.level {
                let message = format!(
                    "the property {} occurs twice, so it is ambiguous which one contains the rows: remove one",
                    self.path[..self.place.level].join(".")
                );
                return Err(malformed(at, message));
            }
            self.place.matched = self.place.level;
        }
        Ok(on_path)
    }
}

fn start_value(byte: u8, at: usize) -> Result<JsonValue, Fault> {
    JsonValue::starting_with(byte).ok_or_else(|| unexpected("a value", byte, at))
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
