"""The paper theatre: what there is (concepts), what happens (scene, choreography), what is said of it
(captions) and how it looks (atlas, stage). Everything is deterministic in the scene's seed."""
