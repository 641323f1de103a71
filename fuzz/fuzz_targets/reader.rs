#![no_main]

secateurs_libfuzzer::fuzz!(secateurs_fuzz::reader);
