-- Labels of entities that a prediction has are kept longer than those that wait: each kind is found by its age.
DROP INDEX waiting_labels_age;
CREATE INDEX waiting_labels_age ON waiting_labels (model_no, joined, waits_from);
