-- Arms are called 'baseline' and 'candidate'.
UPDATE suggestion_events SET arm = CASE arm WHEN 'rule' THEN 'baseline' WHEN 'model' THEN 'candidate' ELSE arm END;
UPDATE feedback SET arm = CASE arm WHEN 'rule' THEN 'baseline' WHEN 'model' THEN 'candidate' ELSE arm END;
UPDATE label_pairs SET arm = CASE arm WHEN 'rule' THEN 'baseline' WHEN 'model' THEN 'candidate' ELSE arm END;
UPDATE disputes SET arm = CASE arm WHEN 'rule' THEN 'baseline' WHEN 'model' THEN 'candidate' ELSE arm END;
