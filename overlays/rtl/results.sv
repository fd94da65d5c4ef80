// Two banks of sums between the accumulator and the divider, and the largest magnitude in each.
`default_nettype none
module results #(
  parameter int D = 64
) (
  input  wire              clk,
  input  wire              rst,
  output wire              room,
  input  wire              reserve,
  input  wire              in_valid,
  input  wire  [$clog2(D/8)-1:0] in_word,
  input  wire              in_last,
  input  wire  [7:0][29:0] in_sums,
  // a target whose sums are complete
  output wire              peak_valid,
  output wire  [28:0]      peak,
  input  wire              peak_take,
  // reading the oldest bank
  input  wire  [$clog2(D)-1:0] at,
  output logic [29:0]      sum,
  input  wire              release_bank
);
  localparam int INDEX = $clog2(D / 8);
  (* ram_style = "distributed" *) logic [239:0] memory[2 * D / 8];
  logic [1:0] taken;
  logic write_bank, read_bank;
  assign room = !taken[1];
  always_ff @(posedge clk)
    if (rst) begin
      taken <= 0;
      write_bank <= 0;
      read_bank <= 0;
    end else begin
      taken <= taken + {1'b0, reserve} - {1'b0, release_bank};
      if (in_valid && in_last) write_bank <= !write_bank;
      if (release_bank) read_bank <= !read_bank;
    end
  always_ff @(posedge clk) if (in_valid) memory[{write_bank, in_word}] <= in_sums;

  wire [239:0] words = memory[{read_bank, at[INDEX+2:3]}];
  always_ff @(posedge clk) sum <= words[30*at[2:0]+:30];

  // The largest magnitude, by a tree of one comparison a cycle.
  logic [7:0][28:0] size1;
  logic [3:0][28:0] size2;
  logic [1:0][28:0] size3;
  logic [28:0] size4, size5;
  logic [5:1] valid, last;
  logic first;
  wire [2:0] unused_count;
  for (genvar b = 0; b < 8; b++) begin : magnitudes
    always_ff @(posedge clk) size1[b] <= in_sums[b][29] ? -in_sums[b][28:0] : in_sums[b][28:0];
  end
  for (genvar b = 0; b < 4; b++) begin : pairs
    always_ff @(posedge clk)
      size2[b] <= size1[2*b] > size1[2*b+1] ? size1[2*b] : size1[2*b+1];
  end
  for (genvar b = 0; b < 2; b++) begin : quads
    always_ff @(posedge clk)
      size3[b] <= size2[2*b] > size2[2*b+1] ? size2[2*b] : size2[2*b+1];
  end
  always_ff @(posedge clk) begin
    size4 <= size3[0] > size3[1] ? size3[0] : size3[1];
    if (valid[4] && (first || size4 > size5)) size5 <= size4;
    last <= {last[4:1], in_last};
    if (rst) begin
      valid <= 0;
      first <= 1;
    end else begin
      valid <= {valid[4:1], in_valid};
      if (valid[4]) first <= last[4];
    end
  end
  fifo #(.WIDTH(29), .LOG2(2)) peaks (
    .clk, .rst, .push(valid[5] && last[5]), .in(size5), .pop(peak_take), .out(peak),
    .valid(peak_valid), .count(unused_count)
  );
endmodule
`default_nettype wire
