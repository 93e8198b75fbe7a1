//! The key: its row, what the store records about it, and the relays that send it.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use landfall_destinations::{Call, Destination, Due, Outcome, Plan, Reply};
use landfall_domain::Value;
use landfall_requests::Secrets;

use crate::service::{Fate, Service, answer};

const KEY: Value = Value::Integer(7);

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The row changes.
    Write,
    Delete,
    /// A key that is set aside is sent again.
    Redrive,
    /// A relay leases the key.
    Lease(usize),
    /// A relay decides, and sends a call or ends.
    Step(usize),
    /// A relay ends, because its lease has.
    GiveUp(usize),
    /// A relay records what has become of the key.
    Record(usize),
    /// A relay dies.
    Crash(usize),
    /// The service answers the call that was sent with a lease.
    Serve(u8, Fate),
    EndLease,
}

/// The key, and everything that has to do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is recorded by the store"
)]
pub struct State {
    /// What may still happen.
    pub changes: u8,
    pub crashes: u8,
    pub failures: u8,
    pub refusals: u8,
    /// The version of the last change, and whether there is a row.
    version: u8,
    has_row: bool,
    is_wanted: bool,
    pub is_aside: bool,
    pub is_uncertain: bool,
    /// Whether the service has the key as far as is known, and the id that it gave.
    exists: bool,
    id: Option<String>,
    leases: u8,
    pub lease: Option<Lease>,
    pub relays: [Relay; 2],
    pub calls: Vec<InFlight>,
    pub service: Service,
}

/// A lease, with the row as it stood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub number: u8,
    version: u8,
    has_row: bool,
}

/// A call that the service has not processed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InFlight {
    pub lease: u8,
    work: Work,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Relay {
    #[default]
    Idle,
    /// Between two calls.
    Working(Work),
    Calling(Work),
    Recording(u8, End),
}

/// What a relay knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    pub lease: u8,
    version: u8,
    has_row: bool,
    exists: bool,
    is_uncertain: bool,
    id: Option<String>,
}

/// What has become of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Sent { exists: bool, id: Option<String> },
    Retry { uncertain: bool },
    SetAside,
}

impl Relay {
    /// Returns the number of the lease that it works with.
    pub fn lease(&self) -> Option<u8> {
        match self {
            Self::Idle => None,
            Self::Working(work) | Self::Calling(work) => Some(work.lease),
            Self::Recording(lease, _) => Some(*lease),
        }
    }
}

impl State {
    /// Returns a key without a row. The numbers say what may happen.
    pub fn new(changes: u8, crashes: u8, failures: u8, refusals: u8) -> Self {
        Self {
            changes,
            crashes,
            failures,
            refusals,
            ..Self::default()
        }
    }

    pub fn is_due(&self) -> bool {
        self.is_wanted && !self.is_aside && self.lease.is_none()
    }

    /// Returns whether the service has the last version.
    pub fn is_settled(&self) -> bool {
        let version = self.service.row.map(|(_, version)| version);
        !self.is_wanted && version == self.has_row.then_some(self.version)
    }

    /// Returns what may become of a call.
    pub fn fates(&self) -> Vec<Fate> {
        let mut fates = vec![Fate::Accepted];
        if self.failures > 0 {
            fates.extend([Fate::Lost, Fate::Failed]);
        }
        if self.refusals > 0 {
            fates.push(Fate::Refused);
        }
        fates
    }

    pub fn apply(&mut self, destination: &Destination, action: Action) {
        match action {
            Action::Write | Action::Delete => {
                self.changes -= 1;
                self.version += 1;
                self.has_row = action == Action::Write;
                self.is_wanted = true;
            }
            Action::Redrive => self.is_aside = false,
            Action::EndLease => {
                let holder = self.lease.take().map(|lease| lease.number);
                if self.relays.iter().any(|relay| relay.lease() == holder) {
                    self.crashes -= 1;
                }
                self.is_uncertain = true;
            }
            Action::Lease(relay) => {
                self.leases += 1;
                self.lease = Some(Lease {
                    number: self.leases,
                    version: self.version,
                    has_row: self.has_row,
                });
                self.relays[relay] = Relay::Working(Work {
                    lease: self.leases,
                    version: self.version,
                    has_row: self.has_row,
                    exists: self.exists,
                    is_uncertain: self.is_uncertain,
                    id: self.id.clone(),
                });
            }
            Action::Crash(relay) => {
                self.crashes -= 1;
                self.relays[relay] = Relay::Idle;
            }
            Action::GiveUp(relay) => self.relays[relay] = Relay::Idle,
            Action::Step(relay) => self.step(destination, relay),
            Action::Record(relay) => self.record(relay),
            Action::Serve(lease, fate) => self.serve(destination, lease, fate),
        }
    }

    fn step(&mut self, destination: &Destination, relay: usize) {
        let Relay::Working(work) = std::mem::take(&mut self.relays[relay]) else {
            panic!("the relay does not work")
        };
        self.relays[relay] = match work.plan(destination) {
            Plan::Call(_) => {
                self.calls.push(InFlight {
                    lease: work.lease,
                    work: work.clone(),
                });
                Relay::Calling(work)
            }
            Plan::Nothing { exists } => {
                let id = work.id.clone();
                Relay::Recording(work.lease, End::Sent { exists, id })
            }
            plan => panic!("every outcome can be found out: {plan:?}"),
        };
    }

    fn serve(&mut self, destination: &Destination, lease: u8, fate: Fate) {
        let index = self.calls.iter().position(|call| call.lease == lease);
        let work = self.calls.remove(index.unwrap()).work;
        let Plan::Call(call) = work.plan(destination) else {
            panic!("this call was planned")
        };
        match fate {
            Fate::Accepted => {}
            Fate::Lost | Fate::Failed => self.failures -= 1,
            Fate::Refused => self.refusals -= 1,
        }
        let is_processed = matches!(fate, Fate::Accepted | Fate::Lost);
        let processed = is_processed.then(|| self.service.process(&call, work.version));
        let is_caller = |relay: &&mut Relay| **relay == Relay::Calling(work.clone());
        if let Some(relay) = self.relays.iter_mut().find(is_caller) {
            let answer = answer(fate, processed);
            *relay = work.clone().answered(destination, &call, answer.as_ref());
        }
    }

    fn record(&mut self, relay: usize) {
        let Relay::Recording(number, end) = std::mem::take(&mut self.relays[relay]) else {
            panic!("the relay does not record")
        };
        let Some(lease) = self.lease.take_if(|lease| lease.number == number) else {
            return;
        };
        match end {
            End::Sent { exists, id } => {
                self.exists = exists;
                self.id = id.or(self.id.take()).filter(|_| exists);
                self.is_uncertain = false;
                self.is_wanted = lease.version != self.version;
            }
            End::Retry { uncertain } => self.is_uncertain |= uncertain,
            End::SetAside => self.is_aside = true,
        }
    }
}

impl Work {
    fn plan(&self, destination: &Destination) -> Plan {
        let row = [KEY, Value::Integer(self.version.into())];
        destination.plan(&self.due(&[KEY], &row))
    }

    fn due<'a>(&'a self, key: &'a [Value], row: &'a [Value]) -> Due<'a> {
        Due {
            key,
            row: self.has_row.then_some(row),
            version: std::slice::from_ref(&self.version),
            exists: self.exists,
            is_uncertain: self.is_uncertain,
            replays: 0,
            remote_id: self.id.as_deref(),
            attempts: 0,
            wanted_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// Returns what the relay does next.
    fn answered(
        mut self,
        destination: &Destination,
        call: &Call,
        answer: Option<&(StatusCode, HeaderMap, Vec<u8>)>,
    ) -> Relay {
        let reply = match answer {
            None => Reply::Lost("closed"),
            Some((status, headers, body)) => Reply::Answer {
                status: *status,
                headers,
                body,
            },
        };
        let row = [KEY, Value::Integer(self.version.into())];
        let key = [KEY];
        let due = self.due(&key, &row);
        let (secrets, now) = (Secrets::default(), Timestamp::UNIX_EPOCH);
        match destination.judge(&due, call, &reply, &secrets, now, 0.5) {
            Outcome::Sent { exists, id } => {
                let id = id.or(self.id);
                Relay::Recording(self.lease, End::Sent { exists, id })
            }
            Outcome::Again {
                exists,
                id,
                is_certain,
                ..
            } => {
                self.id = id.or(self.id).filter(|_| exists);
                (self.exists, self.is_uncertain) = (exists, !is_certain);
                Relay::Working(self)
            }
            Outcome::Retry { uncertain, .. } => {
                Relay::Recording(self.lease, End::Retry { uncertain })
            }
            Outcome::SetAside(_) => Relay::Recording(self.lease, End::SetAside),
            Outcome::Unknown(reason) => panic!("there are attempts left: {reason}"),
        }
    }
}
