"""Programs that nobody here wrote. Held against them: our passes, our web service, and what plays Apple and Google."""
