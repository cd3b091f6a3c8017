"""What the service is compared with, each as somebody would straightforwardly write it."""

DATABASE_VARIABLE = "BENCHMARK_DATABASE_URL"
