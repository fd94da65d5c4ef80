// One read port's worth of core: from node numbers to embedding rows. Of PORTS lanes, each takes every
// PORTS-th target, and shares nothing with the others but the registers.
`default_nettype none
module lane #(
  parameter int D = 64,
  parameter int PORTS = 1,
  parameter int LANE = 0,
  parameter int OUTSTANDING_LOG2 = 4
) (
  input  wire              clk,
  input  wire              rst,
  input  wire              halt,
  output wire              quiet,
  output wire  [2:0]       failed,      // address outside, write response, read response
  input  wire              launch,
  output wire              finished,
  output wire              gathered,
  // the registers of the two batches
  input  wire  [1:0][31:0] targets_base,
  input  wire  [1:0][31:0] degrees_base,
  input  wire  [1:0][31:0] edges_base,
  input  wire  [1:0][31:0] table_base,
  input  wire  [1:0][31:0] out_base,
  input  wire  [1:0][31:0] base,
  input  wire  [1:0][31:0] limit,
  input  wire  [1:0][31:0] seed,
  input  wire  [1:0][16:0] decay,
  input  wire  [1:0][15:0] count,
  input  wire  [1:0][6:0]  fanout,
  input  wire  [1:0][1:0]  mode,
  input  wire  [1:0][3:0]  length_log2,
  input  wire  [1:0][4:0]  shift,
  // AXI
  output wire  [31:0]      araddr,
  output wire  [3:0]       arlen,
  output wire              arvalid,
  input  wire              arready,
  input  wire  [63:0]      rdata,
  input  wire              rerror,
  input  wire              rlast,
  input  wire              rvalid,
  output wire              rready,
  output wire  [31:0]      awaddr,
  output wire              awvalid,
  input  wire              awready,
  output wire  [63:0]      wdata,
  output wire              wlast,
  output wire              wvalid,
  input  wire              wready,
  input  wire              bvalid,
  input  wire              berror
);
  // Targets of this lane: of an odd number, the first lane has one more.
  wire [1:0][15:0] ours;
  for (genvar s = 0; s < 2; s++) begin : share
    wire more = LANE == 0 && count[s][0];
    assign ours[s] = PORTS == 1 ? count[s] : {1'b0, count[s][15:1]} + {15'd0, more};
  end

  wire [3:0] request, grant, set, arrives;
  wire [3:0][32:0] address;
  wire [3:0][3:0] beats;
  wire [63:0] data;
  wire rows_ready, reads_quiet;
  reads #(.OUTSTANDING_LOG2(OUTSTANDING_LOG2)) reads (
    .clk, .rst, .halt, .quiet(reads_quiet), .outside(read_outside), .failed(failed[0]), .request,
    .address, .beats, .set, .base, .limit, .grant, .arrives, .data, .rows_ready, .araddr, .arlen,
    .arvalid, .arready, .rdata, .rerror, .rlast, .rvalid, .rready
  );
  wire read_outside, write_outside, writes_quiet;
  assign failed[2] = read_outside || write_outside;
  assign quiet = reads_quiet && writes_quiet;

  wire target_valid, target_set, target_take;
  wire [31:0] target;
  targets #(.PORTS(PORTS), .LANE(LANE)) targets (
    .clk, .rst, .launch, .list(targets_base), .count(ours), .request(request[0]),
    .address(address[0]), .beats(beats[0]), .set(set[0]), .grant(grant[0]), .arrives(arrives[0]),
    .data, .out_valid(target_valid), .out_target(target), .out_set(target_set),
    .out_take(target_take)
  );

  wire degree_valid, degree_set, degree_take;
  wire [31:0] degree_target;
  wire [63:0] degree;
  assign beats[1] = 4'd0;
  degrees degrees (
    .clk, .rst, .list(degrees_base), .in_valid(target_valid), .in_target(target),
    .in_set(target_set), .in_take(target_take), .request(request[1]), .address(address[1]),
    .set(set[1]), .grant(grant[1]), .arrives(arrives[1]), .data, .out_valid(degree_valid),
    .out_target(degree_target), .out_set(degree_set), .out_degree(degree), .out_take(degree_take)
  );

  wire burst_valid, burst_take, released, fading_busy;
  wire [14:0] burst;
  sampler sampler (
    .clk, .rst, .list(edges_base), .fanout, .mode, .length_log2, .seed, .in_valid(degree_valid),
    .in_target(degree_target), .in_set(degree_set), .in_degree(degree), .in_take(degree_take),
    .request(request[2]), .address(address[2]), .beats(beats[2]), .set(set[2]), .grant(grant[2]),
    .released, .out_take(burst_take), .out_valid(burst_valid), .out(burst)
  );

  wire edge_valid, edge_set, edge_last, edge_empty, edge_take;
  wire [23:0] neighbour;
  wire [14:0] weight;
  weigher weigher (
    .clk, .rst, .launch, .decay, .arrives(arrives[2]), .data, .released, .fading_busy,
    .in_valid(burst_valid), .in(burst), .in_take(burst_take), .out_valid(edge_valid),
    .out_neighbour(neighbour), .out_weight(weight), .out_set(edge_set), .out_last(edge_last),
    .out_empty(edge_empty), .out_take(edge_take)
  );

  wire announced, announcement_take;
  wire [17:0] announcement;
  gather #(.D(D)) gather (
    .clk, .rst, .table_base, .in_valid(edge_valid), .in_neighbour(neighbour), .in_weight(weight),
    .in_set(edge_set), .in_last(edge_last), .in_empty(edge_empty), .in_take(edge_take),
    .request(request[3]), .address(address[3]), .beats(beats[3]), .set(set[3]), .grant(grant[3]),
    .out_valid(announced), .out(announcement), .out_take(announcement_take)
  );

  wire bank_room, reserve, sums_valid, sums_last, total_take;
  wire unused_total_valid;
  wire [$clog2(D/8)-1:0] sums_word;
  wire [7:0][29:0] sums;
  wire [21:0] total;
  accumulate #(.D(D)) accumulate (
    .clk, .rst, .shift, .in_valid(announced), .in(announcement), .in_take(announcement_take), .gathered, .arrives(arrives[3]), .data,
    .ready(rows_ready), .room(bank_room), .reserve, .out_valid(sums_valid), .out_word(sums_word),
    .out_last(sums_last), .out_sums(sums), .out_total(total), .total_valid(unused_total_valid),
    .total_take
  );

  wire peak_valid, release_bank;
  wire [28:0] peak;
  wire [$clog2(D)-1:0] at;
  wire [29:0] sum;
  results #(.D(D)) results (
    .clk, .rst, .room(bank_room), .reserve, .in_valid(sums_valid), .in_word(sums_word),
    .in_last(sums_last), .in_sums(sums), .peak_valid, .peak, .peak_take(total_take), .at, .sum,
    .release_bank
  );

  wire scaled, zero, divide_take;
  wire [7:0] code;
  wire [4:0] up;
  wire [25:0] divisor;
  scale scale (
    .clk, .rst, .shift, .in_valid(peak_valid), .in_peak(peak), .in_total(total),
    .in_take(total_take), .out_valid(scaled), .out_zero(zero), .out_code(code), .out_up(up),
    .out_divisor(divisor), .out_take(divide_take)
  );

  wire row_room, row_valid;
  wire [63:0] row;
  divide #(.D(D)) divide (
    .clk, .rst, .in_valid(scaled), .in_zero(zero), .in_code(code), .in_up(up),
    .in_divisor(divisor), .in_take(divide_take), .at, .sum, .release_bank, .room(row_room),
    .out_valid(row_valid), .out(row)
  );

  writes #(.D(D), .PORTS(PORTS), .LANE(LANE)) writes (
    .clk, .rst, .halt, .quiet(writes_quiet), .outside(write_outside), .failed(failed[1]), .launch,
    .rows(out_base), .count(ours), .base, .limit, .hold(fading_busy), .finished,
    .in_valid(row_valid), .in(row), .room(row_room), .awaddr, .awvalid, .awready, .wdata, .wlast,
    .wvalid, .wready, .bvalid, .berror
  );
endmodule
`default_nettype wire
