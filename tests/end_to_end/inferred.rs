//! Files that have no definition: public ones from the npm package vega-datasets, with the types that a person gives
//! their columns. None of their rows is rejected.

use landfall_cli::infer::infer_file;
use landfall_domain::JobState;
use landfall_local::Sql;

use crate::public_files::{PACKAGE, SHA512};
use crate::support::{completions, fetch, start_with, upload};

/// The largest file whose definition the splitter infers from all of it.
const WHOLE_BYTES: u64 = 1 << 20;

/// A file, the number of its rows, its key, and its fields with their types.
type Expected = (&'static str, u64, &'static str, &'static str);

// A line per file is easier to compare with the file.
#[rustfmt::skip]
const FILES: [Expected; 34] = [
    ("airports.csv", 3_376, "iata",
        "iata:text name:text city:text state:text country:text latitude:decimal longitude:decimal"),
    ("anscombe.json", 44, "", "series:text x:decimal y:decimal"),
    ("barley.json", 120, "", "yield:decimal variety:text year:integer site:text"),
    ("budgets.json", 230, "budget_year forecast_year",
        "budget_year:integer forecast_year:integer value:decimal"),
    ("burtin.json", 16, "", "bacteria:text penicillin:decimal streptomycin:decimal neomycin:decimal \
        gram_staining:text genus:text"),
    ("cars.json", 406, "", "name:text miles_per_gallon:decimal cylinders:integer displacement:decimal \
        horsepower:integer weight_in_lbs:integer acceleration:decimal year:date origin:text"),
    ("co2-concentration.csv", 741, "", "date:date co2:decimal adjusted_co2:decimal"),
    ("crimea.json", 24, "", "date:date wounds:integer other:integer disease:integer army_size:integer"),
    ("disasters.csv", 803, "", "entity:text year:integer deaths:integer"),
    ("driving.json", 55, "", "side:text year:integer miles:integer gas:decimal"),
    ("flights-2k.json", 2_000, "",
        "date:timestamp delay:integer distance:integer origin:text destination:text"),
    ("flights-airport.csv", 5_366, "", "origin:text destination:text count:integer"),
    ("gapminder-health-income.csv", 187, "",
        "country:text income:integer health:decimal population:integer region:text"),
    ("gapminder.json", 682, "", "year:integer country:text cluster:integer pop:integer life_expect:decimal \
        fertility:decimal"),
    ("github.csv", 955, "", "time:timestamp count:integer"),
    ("global-temp.csv", 144, "", "year:integer temp:decimal"),
    ("income.json", 520, "", "name:text region:text id:integer pct:decimal total:integer group:text"),
    ("iowa-electricity.csv", 51, "", "year:date source:text net_generation:integer"),
    ("la-riots.csv", 63, "", "first_name:text last_name:text age:integer gender:text race:text \
        death_date:date address:text neighborhood:text type:text longitude:decimal latitude:decimal"),
    ("lookup_groups.csv", 9, "", "group:integer person:text"),
    ("lookup_people.csv", 9, "", "name:text age:integer height:integer"),
    ("monarchs.json", 12, "index",
        "name:text start:integer end:integer index:integer commonwealth:boolean"),
    ("obesity.json", 50, "id", "id:integer rate:decimal state:text"),
    ("penguins.json", 344, "", "species:text island:text beak_length_mm:decimal beak_depth_mm:decimal \
        flipper_length_mm:integer body_mass_g:integer sex:text"),
    ("population.json", 570, "", "year:integer age:integer sex:integer people:integer"),
    ("population_engineers_hurricanes.csv", 52, "id",
        "state:text id:integer population:integer engineers:decimal hurricanes:integer"),
    ("seattle-weather.csv", 1_461, "", "date:date precipitation:decimal temp_max:decimal \
        temp_min:decimal wind:decimal weather:text"),
    ("sp500.csv", 123, "", "date:date price:decimal"),
    ("stocks.csv", 560, "", "symbol:text date:date price:decimal"),
    ("unemployment.tsv", 3_218, "id", "id:integer rate:decimal"),
    ("us-state-capitals.json", 50, "", "lon:decimal lat:decimal state:text city:text"),
    ("weather.csv", 2_922, "", "location:text date:date precipitation:decimal temp_max:decimal \
        temp_min:decimal wind:decimal weather:text"),
    ("wheat.json", 52, "", "year:integer wheat:decimal wages:decimal"),
    ("zipcodes.csv", 42_049, "zip_code",
        "zip_code:text latitude:decimal longitude:decimal city:text state:text county:text"),
];

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_definition_are_loaded_without_rejects() {
    let parameters = [("AutoDatasets", "true")];
    let stack = start_with(Sql::Sqlite, &parameters, Vec::new()).await;
    let directory = tempfile::tempdir().unwrap();
    let files = FILES.map(|(file, ..)| file);
    fetch(&stack, PACKAGE, SHA512, directory.path(), &files);
    let mut jobs = Vec::new();
    for (file, rows, key, types) in FILES {
        let path = directory.path().join(file);
        let suggestion = infer_file(&path, None).unwrap();
        let inferred = &suggestion.inferred;
        let fields = inferred.fields.iter();
        let fields: Vec<_> = fields
            .map(|field| format!("{}:{}", field.name, field.kind.as_str()))
            .collect();
        let found = (inferred.key.fields.join(" "), fields.join(" "));
        assert_eq!(found, (key.to_owned(), types.to_owned()), "{file}");
        let body = std::fs::read(&path).unwrap();
        if body.len() as u64 > WHOLE_BYTES {
            let created = stack.create_dataset(&inferred.name, &suggestion.definition);
            assert!(created.await.unwrap());
        }
        let object = format!("{}/{file}", inferred.name);
        jobs.push((file, rows, upload(&stack, &object, body).await));
    }
    let ids: Vec<_> = jobs.iter().map(|(_, _, job)| *job).collect();
    let events = completions(&stack, &ids).await;
    for (file, rows, job) in jobs {
        let event = &events[&job];
        let counts = &event.counts;
        let outcome = (event.state, counts.rows, counts.rejected);
        let expected = (JobState::Succeeded, rows, 0);
        assert_eq!(outcome, expected, "{file}: {:?}", event.problem);
        assert!(
            counts.stores.values().all(|store| store.inserted == rows),
            "{file}"
        );
    }
}
