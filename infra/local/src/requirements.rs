//! Python packages that only tests and checks need.

use landfall_setup::python::Requirements;

/// The packages that check the template: cfn-lint and the SAM command line.
pub const VERIFY: Requirements = Requirements {
    purpose: "cargo verify",
    pins: include_str!("../requirements-verify.txt"),
};

/// The packages that test the page in a browser, and the HTTP API against its description.
pub const TESTS: Requirements = Requirements {
    purpose: "the tests",
    pins: include_str!("../requirements-tests.txt"),
};
