"""Training of the small models. Needs LightGBM (`tandem[train]`); what it makes runs without."""
